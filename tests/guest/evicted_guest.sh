#!/bin/bash
# `ivmq evict peer` of a real VM in the middle of its traffic: the VM runs on, without a realm; its
# memory is not used again; everybody else is undisturbed.
source "$(dirname "$0")/scenario.sh"

count=20000
start_broker
boot_members north south
start_agent north auto
start_agent south auto
begin host steady "./ivmq_traffic_subscriber traffic.south $count 120"
await_saying host steady subscribed 120
begin host left "./ivmq_traffic_subscriber traffic.north 0 0"
await_saying host left subscribed 120
begin south publisher "./ivmq_traffic_publisher traffic.south 1 $count 1 2000"
begin north evicted "./ivmq_traffic_publisher traffic.north 2 0 1 1000"
await_saying host left 'at 1000' 120

peer=$(peer_of north)
[[ -n $peer ]] || fail "ivmq peers does not list north"
"$bin/ivmq" evict peer "$peer" || fail "evict peer $peer ended with status $?"
say "evicted peer $peer"
status=0
said=$("$bin/ivmq" evict peer "$peer" 2>&1) || status=$?
expect_equal "status of a second eviction ($said)" 1 "$status"
expect_equal "peers left of north" "" "$(peer_of north)"
[[ -n $(peer_of south) ]] || fail "south is gone, too"
"$bin/ivmq" peers | grep -q 'orphaned: never used again' || fail "its memory is not orphaned"
lab_alive north || fail "QEMU of north ended"
await_saying north agent "lost contact to control" 60
status=0
said=$(guest_exec north 'ivmq doctor') || status=$?
expect_equal "status of doctor in north" 1 "$status"

finish south publisher 300
finish host steady 120
expect_equal "messages of south" "received $count links 1" "${last_words% largest*}"
kill -TERM "${LAB_PID[left]}"
finish host left 120
say "of north: $last_words"
close_books traffic.south 1 1
# The VM maps it still, so it can never be closed; its books may not be wrong for that.
audit traffic.north
say "$audited"
expect_equal "orphaned links of north" 1 "$(audited_lines '^link .*, orphaned: ')"
