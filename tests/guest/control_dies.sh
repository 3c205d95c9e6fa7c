#!/bin/bash
# control is killed outright in the middle of traffic between guests: the traffic goes on, both QEMUs
# stay, and so does the keeper.
source "$(dirname "$0")/scenario.sh"

count=60000
start_broker
boot_members north south
start_agent north auto
start_agent south auto
begin south subscriber "./ivmq_traffic_subscriber traffic.north $count 120"
await_saying south subscriber subscribed 120
begin north publisher "./ivmq_traffic_publisher traffic.north 1 $count 1 3000"
await_saying south subscriber "at $((count / 20))" 120

keeper=${LAB_PID[ivmqd]}
control=$(cat "/proc/$keeper/task/$keeper/children")
control=${control%% *}
[[ -n $control ]] || fail "ivmqd has no child"
has_said south subscriber "at $((count * 9 / 10))" && fail "the traffic was over before the kill"
kill -KILL "$control"
say "killed control, pid $control"

finish north publisher 400
say "north: $last_words"
finish south subscriber 400
received=$last_words
say "south: $received"
expect_equal "messages in south" "received $count links 1" "${received% largest*}"
lab_alive ivmqd || fail "the keeper ended"
for name in north south; do lab_alive "$name" || fail "QEMU of $name ended"; done
