#!/bin/bash
# 100,000 protobuf messages from 0 bytes to the largest record go from one guest to another, in order,
# none lost, each with its checksum. Then guests that have only clocks of their own tell how long messages
# are on the way, within bounds that hold at any speed. $1: how both reach the device, vfio (interrupts)
# or pci (polling).
source "$(dirname "$0")/scenario.sh"

# For longer than the ten seconds after which a guest asks for the time again.
timed=1200
begin_timing() { # FROM TO TOPIC
  begin "$2" "times.$3" "ivmq sub $3 --reliable --latency --json --count $timed --timeout 300"
  begin "$1" "timed.$3" "ivmq pub $3 x --timestamps --count $timed --rate 100 --wait 1 --timeout 120"
}

finish_timing() { # FROM TO TOPIC BEGAN
  local took name least most
  local -A figures
  finish "$1" "timed.$3" 400
  finish "$2" "times.$3" 400
  took=$(($(date +%s%N) - $4))
  say "times from $1 to $2: $last_words"
  for name in messages untimed lost min_ns p50_ns p99_ns p999_ns max_ns uncertainty_ns; do
    figures[$name]=$(sed -n "s/.*\"$name\":\"\(-\?[0-9]\+\)\".*/\1/p" <<<"$last_words")
    [[ -n ${figures[$name]} ]] || fail "no $name in '$last_words'"
  done
  expect_equal "messages of $3" "$timed lost 0" "${figures[messages]} lost ${figures[lost]}"
  ((figures[untimed] < timed / 2)) || fail "too many messages without a time: $last_words"
  # No message comes before it is sent, or takes longer than all of them.
  least=$((-figures[uncertainty_ns])) most=$((took + figures[uncertainty_ns]))
  ((figures[uncertainty_ns] > 0 && figures[uncertainty_ns] < took)) ||
    fail "two clocks that are off by ${figures[uncertainty_ns]} ns: $last_words"
  ((least <= figures[min_ns] && figures[min_ns] <= figures[p50_ns] &&
    figures[p50_ns] <= figures[p99_ns] && figures[p99_ns] <= figures[p999_ns] &&
    figures[p999_ns] <= figures[max_ns] && figures[max_ns] <= most)) ||
    fail "times out of $least to $most, or out of order: $last_words"
}

# Both ways at once: a clock that is wrong makes the times of one of them too short.
time_both_ways() {
  local began
  began=$(date +%s%N)
  begin_timing north south times.north
  begin_timing south north times.south
  finish_timing north south times.north "$began"
  finish_timing south north times.south "$began"
}

start_broker
boot_members north south
start_agent north "$1"
start_agent south "$1"
say "two guests, device by $1"
exchange north south traffic.north 100000
time_both_ways
