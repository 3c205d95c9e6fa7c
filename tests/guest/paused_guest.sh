#!/bin/bash
# QEMU of a subscriber that keeps the last messages is stopped until they were overwritten many times.
# The publisher, and a reliable subscriber beside it, go on undisturbed. Afterwards the paused one
# gets the latest, is told what it missed, and every message is accounted for. The publisher is told
# that the other side shows no sign of life, and when it does again.
source "$(dirname "$0")/scenario.sh"

keep=32
start_broker
boot_members north south
start_agent north auto
start_agent south auto
begin south paused "./ivmq_traffic_subscriber traffic.live 0 0 $keep"
await_saying south paused subscribed 120
begin host steady "./ivmq_traffic_subscriber traffic.live 0 0"
await_saying host steady subscribed 120
begin north publisher "./ivmq_traffic_publisher traffic.live 1 0 2 2000"
await_saying south paused 'at 1000' 120

kill -STOP "${LAB_PID[south]}"
host_at() { grep -c '^at ' "$LAB/steady.log"; }
before=$(host_at)
say "stopped south; the host has had $before thousand"
await_saying host steady "at $(((before + 6) * 1000))\$" 120
is_suspect() { "$bin/ivmq" peers --json | grep -q '"state":"SUSPECT"'; }
wait_for 60 "south to be suspect" is_suspect || fail "a VM that stands still is not suspect"
doctor=$("$bin/ivmq" doctor) || true
grep -q "$(peer_of south) of realm default .*: no sign of life for" <<<"$doctor" ||
  fail "doctor does not name the VM that stands still: $doctor"
await_saying north publisher '^suspect traffic-subscriber$' 60
kill -CONT "${LAB_PID[south]}"
await_saying north publisher '^alive traffic-subscriber$' 60
await_saying south paused '^gap [0-9]' 120
after=$(host_at)
say "south goes on; the host has had $after thousand"
has_reached() { guest_exec south "awk '/^at /{n = \$2} END {exit n < $1}' /tmp/paused.out"; }
wait_for 120 "south to have the latest" has_reached $(((after + 1) * 1000)) || fail "it has not"

guest_exec north 'killall -TERM ivmq_traffic_publisher'
finish north publisher 120
published=${last_words#published }
published=${published% bytes*}
kill -TERM "${LAB_PID[steady]}"
finish host steady 120
expect_equal "messages on the host" "received $published links 1" "${last_words% largest*}"
guest_exec south 'killall -TERM ivmq_traffic_subscriber'
finish south paused 120
say "$published were published; south $last_words"
received=${last_words#received }
received=${received%% *}
lost=${last_words##* lost }
expect_equal "messages received and lost in south" "$published" "$((received + lost))"
((lost >= 5000 - keep)) || fail "south has lost $lost only"

lost_range=$(guest_exec south "sed -n 's/^lost //p' /tmp/paused.out")
close_books traffic.live 2 2
expect_equal "the account of south" 1 "$(audited_lines \
  "counters: $published = $received delivered + $lost dropped: overwritten ($lost_range) + 0 in flight, exact")"
expect_equal "the account of the host" 1 \
  "$(audited_lines "counters: $published = $published delivered + 0 in flight, exact")"
