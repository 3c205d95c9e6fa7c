#!/bin/bash
# Measures messages from one guest to another by ivmq, and by TCP over virtio-net between the same two,
# in turns, and appends the samples to the file that IVMQ_BENCH_SAMPLES names. First both reach the device
# by polling, then by interrupts. Starts a broker of its own and two guests, and stops them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export IVMQ_GUEST_PROGRAMS=$here/../../../build/release/bench-guests.cpio
# shellcheck source=../../guest/scenario.sh
source "$here/../../guest/scenario.sh"

samples_each=5
seconds_each=1
samples=${IVMQ_BENCH_SAMPLES:-/dev/stdout}
# All of a flush, or of a write: 64 KiB, as tcp_guest has it.
batched() { echo "--ring 1MiB --batch $((65536 / $1))"; }
tcp_port=7000
north_address=10.0.0.1
south_address=10.0.0.2

# The figure of this name in the last words of a benchmark.
figure() { sed -n "s/.*\"$1\":\"\?\(-\?[0-9.]\+\).*/\1/p" <<<"$said"; }

sample() { # NAME VALUE UNIT
  [[ -n $2 ]] || fail "no figure for $1 in: $said"
  printf '{"group":"guest","name":"%s","value":%s,"unit":"%s"}\n' "$1" "$2" "$3" >>"$samples"
  say "$1: $2 $3"
}

# What a benchmark says at its end goes to $said.
run_in_north() { # COMMAND
  local status=0
  said=$(guest_exec -t 60 north "cd /ivmq/bin && exec $1") || status=$?
  ((status == 0)) || fail "$1 ended with status $status: $said"
  said=$(grep '"total":true' <<<"$said") || fail "$1 has said no total"
}

# Of a benchmark that is over.
sample_times() { # message|round_trip CONTENDER BYTES
  if [[ $1 == message ]]; then
    sample "message/$2/$3" "$(awk -v each_second="$(figure messages_per_second)" \
      'BEGIN { printf "%.2f", 1e9 / each_second }')" ns
  else
    sample "round_trip/$2/$3" "$(figure p50_ns)" ns
    sample "round_trip_p99/$2/$3" "$(figure p99_ns)" ns
  fi
}

# Sums what passed by the links of the benchmark that is over and what was rung for it, once they have
# ended.
last_link=0
sum_links() {
  local sums
  sums=$("$bin/ivmq" audit --json | awk -v last="$last_link" '
    function count(name) {
      if (!match($0, "\"" name "\":\"[0-9]+\"")) return 0
      return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5) + 0
    }
    !/"topic":"ivmq\.bench\.default\.[0-9a-f]+(\.back)?"/ || count("link_id") <= last { next }
    !/"ended":true/ { going_on = 1 }
    { newest = count("link_id") > newest ? count("link_id") : newest }
    { published += count("published"); rung += count("doorbells") }
    END { if (!going_on && published) print newest, published, rung }')
  [[ -n $sums ]] && read -r newest_link published rung <<<"$sums"
}
sample_doorbells() { # message|round_trip CONTENDER BYTES
  wait_for 20 "the links of $1/$2/$3 to end" sum_links || fail "$("$bin/ivmq" audit)"
  last_link=$newest_link
  sample "doorbells/$1/$2/$3" "$(awk -v rung="$rung" -v published="$published" \
    'BEGIN { printf "%.4g", rung / published * 1000 }')" "per 1,000 messages"
}

measure_ivmq() { # message|round_trip CONTENDER BYTES WAIT [FLAG...]
  local kind=throughput
  [[ $1 == message ]] || kind=latency
  run_in_north "ivmq bench $kind --size $3 --wait $4 ${*:5} --duration $seconds_each --timeout 30 --json"
  sample_times "$1" "$2" "$3"
  sample_doorbells "$1" "$2" "$3"
}

measure_tcp() { # message|round_trip CONTENDER BYTES MODE
  run_in_north "./tcp_guest $4 $south_address $tcp_port $3 $seconds_each"
  sample_times "$1" "$2" "$3"
}

# Forwards and backwards by turns, so that nobody always comes behind the same.
measure_in_turns() { # CASE...
  local round i words
  for ((round = 1; round <= samples_each; ++round)); do
    for ((i = 0; i < $#; ++i)); do
      read -ra words <<<"${@:$((round % 2 ? i + 1 : $# - i)):1}"
      "measure_${words[0]}" "${words[@]:1}"
    done
  done
}

join_network() { # GUEST ADDRESS
  guest_exec "$1" "ip addr add $2/24 dev eth0 && ip link set eth0 up" ||
    fail "guest $1 has no network card"
}
is_reached() { guest_exec north "ping -c 1 -W 1 $south_address" >/dev/null; }

serve() {
  start_agent north "$1"
  start_agent south "$1"
  begin south "serve.$1" "ivmq bench serve"
  await_saying south "serve.$1" serving 60
}
stop_serving() {
  guest_exec south 'killall -TERM ivmq'
  finish south "serve.$1" 60
  local guest
  for guest in north south; do
    guest_exec "$guest" 'killall -TERM ivmq-agent; while pidof ivmq-agent; do sleep 0.1; done' >/dev/null
  done
}

"$root/deploy/guest/build-image.sh" --network --programs "$IVMQ_GUEST_PROGRAMS" "$bin/ivmq-agent" \
  "$bin/ivmq" "$bin/tcp_guest"
start_broker
for name in north south; do guest_boot "$name" --socket "$LAB/vm.sock" --network "$LAB/network.sock"; done
for name in north south; do guest_ready "$name" || fail "guest $name does not boot"; done
accelerator=$(lab_accelerator)
say "two guests, by $accelerator"
[[ $accelerator != tcg ]] ||
  echo "note: Guests are emulated (QEMU's TCG), as no KVM works here: one virtual CPU each, on $(nproc) cores"
join_network north "$north_address"
join_network south "$south_address"
wait_for 60 "the network between the guests" is_reached || fail "the guests do not reach each other"
begin south tcp "./tcp_guest serve $tcp_port"
await_saying south tcp serving 60

serve pci
measure_in_turns "ivmq message ivmq_polling 64 adaptive" "ivmq round_trip ivmq_polling 64 adaptive"
stop_serving pci
serve vfio
measure_in_turns \
  "ivmq message ivmq_adaptive 64 adaptive" "tcp message tcp 64 each" \
  "ivmq message ivmq_each 64 adaptive --batch 1" \
  "ivmq message ivmq_batched 64 adaptive $(batched 64)" "tcp message tcp_batched 64 batched" \
  "ivmq message ivmq_spin 64 spin" \
  "ivmq round_trip ivmq_adaptive 64 adaptive" "tcp round_trip tcp 64 latency" \
  "ivmq round_trip ivmq_spin 64 spin" "tcp message tcp 1024 each" \
  "ivmq message ivmq_adaptive 1024 adaptive" "tcp message tcp_batched 1024 batched" \
  "ivmq message ivmq_each 1024 adaptive --batch 1" "ivmq message ivmq_large_ring 1024 adaptive --ring 1MiB" \
  "ivmq message ivmq_batched 1024 adaptive $(batched 1024)" \
  "ivmq round_trip ivmq_adaptive 1024 adaptive" "tcp round_trip tcp 1024 latency"
stop_serving vfio
say "done"
