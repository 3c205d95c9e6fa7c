#!/bin/bash
# Three processes in one guest share its device: a subscriber to a host process, a publisher to the
# host, and a publisher to the subscriber beside it.
source "$(dirname "$0")/scenario.sh"

count=34000
start_broker
boot_members guest
start_agent guest auto
begin guest subscriber "./ivmq_traffic_subscriber traffic.in $((2 * count)) 120"
await_saying guest subscriber subscribed 120
begin host outside "./ivmq_traffic_subscriber traffic.out $count 120"
await_saying host outside subscribed 120
begin host down "./ivmq_traffic_publisher traffic.in 1 $count 1"
begin guest beside "./ivmq_traffic_publisher traffic.in 2 $count 1"
begin guest up "./ivmq_traffic_publisher traffic.out 3 $count 1"
finish host down 400
say "host into the guest: $last_words"
finish guest beside 400
say "beside it: $last_words"
finish guest up 400
say "out of the guest: $last_words"
finish guest subscriber 400
received=$last_words
expect_equal "messages in the guest" "received $((2 * count)) links 2" "${received% largest*}"
finish host outside 400
received=$last_words
expect_equal "messages on the host" "received $count links 1" "${received% largest*}"
