#!/bin/bash
# `ivmq evict peer` of a real VM in the middle of its traffic: the VM runs on, without a realm; its
# memory is not used again before its end; everybody else is undisturbed.
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
said=$("$bin/ivmq" evict peer "$peer") || fail "evict peer $peer ended with status $?"
[[ $said == *"until its QEMU ends, and only a restart of the VM lets it in again" ]] || fail "$said"
say "evicted peer $peer"
north_is_evicted() { "$bin/ivmq" peers | grep -q "^ *$peer .* evicted .* ${LAB_PID[north]} "; }
wait_for 60 "ivmq peers to show north as evicted" north_is_evicted || fail "$("$bin/ivmq" peers)"
status=0
said=$("$bin/ivmq" evict peer "$peer" 2>&1) || status=$?
expect_equal "status of a second eviction ($said)" 1 "$status"
[[ -n $(peer_of south) ]] || fail "south is gone, too"
lab_alive north || fail "QEMU of north ended"
await_saying north agent "lost contact to control" 60
status=0
said=$(guest_exec north 'ivmq doctor') || status=$?
expect_equal "status of doctor in north" 1 "$status"
[[ $said == *"then restart the VM"* ]] || fail "doctor in north: $said"

finish south publisher 300
finish host steady 120
expect_equal "messages of south" "received $count links 1" "${last_words% largest*}"
kill -TERM "${LAB_PID[left]}"
finish host left 120
say "of north: $last_words"
close_books traffic.south 1 1
# The VM maps it still, so its memory is not used again; what it wrote is accounted for.
audit traffic.north
say "$audited"
expect_equal "links of north that have ended" 1 "$(audited_lines '^link .*, ended: ')"
expect_equal "accounts with messages in flight" 0 "$(audited_lines ' + [1-9][0-9]* in flight')"
held() { "$bin/ivmq" links --json | grep -c '"state":"ORPHANED"' || true; }
expect_equal "links that north holds" 1 "$(held)"
kill -KILL "${LAB_PID[north]}"
north_is_forgotten() { [[ $(held) == 0 ]]; }
wait_for 60 "the link of north to go with it" north_is_forgotten ||
  fail "north's link is still there"
expect_equal "peers left of north" "" "$(peer_of north)"
close_books traffic.north 1 1
