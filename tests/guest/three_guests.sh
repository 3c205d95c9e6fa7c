#!/bin/bash
# Two guests publish 100,000 messages to a third at the same time.
source "$(dirname "$0")/scenario.sh"

count=50000
start_broker
boot_members north east south
for name in north east south; do start_agent "$name" auto; done
say "three guests"
begin south subscriber "./ivmq_traffic_subscriber traffic.all $((2 * count)) 120"
await_saying south subscriber subscribed 120
begin north publisher "./ivmq_traffic_publisher traffic.all 1 $count 1"
begin east publisher "./ivmq_traffic_publisher traffic.all 2 $count 1"
finish north publisher 400
say "north: $last_words"
finish east publisher 400
say "east: $last_words"
finish south subscriber 400
received=$last_words
say "south: $received"
expect_equal "messages in south" "received $((2 * count)) links 2" "${received% largest*}"
