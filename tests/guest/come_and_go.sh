#!/bin/bash
# Guests come and go 50 times, each sending a few messages and then killed without a farewell, while
# a guest that stays goes on receiving from the host, and from them.
source "$(dirname "$0")/scenario.sh"

guests=50
at_once=2
each=20
start_broker
boot_members steady
start_agent steady auto
begin steady long "./ivmq_traffic_subscriber traffic.long 0 0"
await_saying steady long subscribed 120
begin host source "./ivmq_traffic_publisher traffic.long 1 0 1 200"
begin steady short "./ivmq_traffic_subscriber traffic.short $((guests * each)) 300"
await_saying steady short subscribed 120

for ((first = 1; first <= guests; first += at_once)); do
  names=()
  for ((n = first; n < first + at_once && n <= guests; ++n)); do names+=("visitor$n"); done
  boot_members "${names[@]}"
  for name in "${names[@]}"; do
    start_agent "$name" auto
    begin "$name" publisher "./ivmq_traffic_publisher traffic.short ${name#visitor} $each 1"
  done
  for name in "${names[@]}"; do finish "$name" publisher 120; done
  for name in "${names[@]}"; do lab_stop "$name" KILL || true; done
  lab_alive steady || fail "the guest that stays has ended"
  say "$((n - 1)) guests have come and gone"
done

finish steady short 300
received=$last_words
expect_equal "messages of the visitors" "received $((guests * each)) links $guests" \
  "${received% largest*}"
kill -TERM "${LAB_PID[source]}"
finish host source 120
published=$last_words
guest_exec steady 'killall -TERM ivmq_traffic_subscriber'
finish steady long 120
received=$last_words
say "meanwhile: $published, $received"
published=${published#published }
expect_equal "messages from the host" "received ${published% bytes*} links 1" "${received% largest*}"
