#!/bin/bash
# Measures ivmq beside its rivals and writes docs/performance.md, with plots and the run's figures as JSON
# in docs/performance, and after a whole run the table in README.md. Installs what it needs, builds, starts
# a broker and iceoryx's, and stops both. Status 1: a part failed; the page's notes say which.
#
#   tests/bench.sh [--quick]
#     --quick        at most 4 minutes once it is built, instead of 30: the whole path with 64 bytes only,
#                    and no guests; a machine that is not idle then leaves much unmeasured
#   IVMQ_BENCH_OUT   folder for the page and what belongs to it (default docs)
# The machine should do nothing else meanwhile. Stops everything that it started, also on Ctrl-C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/build/release/bin
out=${IVMQ_BENCH_OUT:-docs}

quick=()
for argument in "$@"; do
  case $argument in
    --quick) quick=(--quick) ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "bench: unknown argument '$argument'; see --help" >&2; exit 2 ;;
  esac
done

work=
declare -A pids=() # of what runs now
stop() { # NAME
  local pid=${pids[$1]:-}
  [[ -n $pid ]] || return 0
  unset "pids[$1]"
  kill "$pid" 2>/dev/null || return 0
  wait "$pid" 2>/dev/null || true
}
clean_up() {
  local name
  stop step
  for name in "${!pids[@]}"; do stop "$name"; done
  [[ -n $work ]] || return 0
  # iceoryx leaves two files a process there, whatever TMPDIR says.
  find /tmp -maxdepth 1 -name 'ivmq-bench-[0-9]*' -newer "$work/began" -delete 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "== install packages"
packages=(--build --bench)
((${#quick[@]})) || packages+=(--vm) # the guests
deploy/install-deps.sh "${packages[@]}"
echo "== build preset release"
cmake --preset release --log-level=WARNING >/dev/null
cmake --build build/release --parallel --target ivmqd ivmqd-control ivmq_benchmarks

work=$(mktemp -d -t ivmq-bench.XXXXXX)
unset IVMQ_BENCH_REALTIME # for runs beside other work
export TMPDIR=$work IVMQ_NODE_SOCKET=$work/node.sock IVMQ_BENCH_SAMPLES=$work/samples.ndjson
touch "$IVMQ_BENCH_SAMPLES" "$work/began"
ulimit -n "$(ulimit -Hn)"
notes=()
failed=0

start_broker() {
  "$bin/ivmqd" --realm default --size 512MiB --vectors 8 --vm-socket "$work/vm.sock" \
    --node-socket "$work/node.sock" --admin-socket "$work/admin.sock" >"$work/ivmqd.log" 2>&1 &
  pids[ivmqd]=$!
  await ivmqd 20 test -S "$work/admin.sock" || { cat "$work/ivmqd.log" >&2; exit 1; }
}
start_roudi() {
  iox-roudi >"$work/roudi.log" 2>&1 &
  pids[roudi]=$!
  await roudi 20 grep -q 'ready for clients' "$work/roudi.log" && return
  unset 'pids[roudi]'
  notes+=(--note "iceoryx is not measured: its daemon did not start (does one run already?)")
  echo "   ${notes[-1]}"
}
await() { # NAME SECONDS COMMAND...: until the command says yes, while NAME runs
  local name=$1 end=$((SECONDS + $2))
  shift 2
  until "$@"; do
    kill -0 "${pids[$name]}" 2>/dev/null && ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# Name, about how many seconds of a full run and of a quick one, and the command: one that ends with
# --seconds is told them.
steps=(
  "ring|310|62|ring_bench --rounds 1000 --seconds"
  "wake-ups|60|6|wake_bench --rounds 1000 --seconds"
  "path|810|80|path_bench --rounds 1000 --seconds"
  "links|150|16|links_bench --rounds 1000 --seconds"
  "set-up|60|9|set_up_bench --rounds 1000 --seconds"
  "matching|20|8|match_bench --benchmark_repetitions=5 --benchmark_min_time=0.02"
  "peers|60|3|peers_bench"
  "doorbells|30|5|doorbells_bench --rounds 1000 --seconds"
  "costs|60|20|cost_bench --rounds 1000 --seconds"
  "instructions|12|12|../../../tests/bench/cost/instructions.sh"
)
if ((${#quick[@]})); then
  notes+=(--note "Guests are not measured in a quick run")
else
  steps+=("guests|160|0|../../../tests/bench/guests/guests.sh")
fi

seconds_of() { # STEP
  local _ full short
  IFS='|' read -r _ full short _ <<<"$1"
  if ((${#quick[@]})); then echo "$short"; else echo "$full"; fi
}
total=0
for step in "${steps[@]}"; do total=$((total + $(seconds_of "$step"))); done

began=$SECONDS
progress() { # STEP-NUMBER NAME STEP-BEGAN OF-SECONDS
  local text
  text="[$1/${#steps[@]}] $2: $((SECONDS - $3)) of about $4 s, $(wc -l <"$IVMQ_BENCH_SAMPLES") samples; "
  text+="all: $((SECONDS - began)) of about $total s"
  if [[ -t 1 ]]; then printf '\r\e[K%s' "$text"; else echo "$text"; fi
}
run_step() { # NUMBER STEP
  local name command seconds since=$SECONDS status=0 pause=10
  IFS='|' read -r name _ _ command <<<"$2"
  seconds=$(seconds_of "$2")
  if [[ -t 1 ]]; then pause=1; fi
  [[ $command != *--seconds ]] || command+=" $seconds"
  [[ $command != *_bench* || $command == match_bench* ]] || command+=" ${quick[*]}"
  # shellcheck disable=SC2086  # the command is words
  "$bin"/$command >"$work/$name.log" 2>"$work/$name.errors" &
  pids[step]=$!
  while kill -0 "${pids[step]}" 2>/dev/null; do
    (((SECONDS - since) % pause)) || progress "$1" "$name" "$since" "$seconds"
    sleep 1
  done
  wait "${pids[step]}" || status=$?
  unset 'pids[step]'
  progress "$1" "$name" "$since" "$seconds"
  if [[ -t 1 ]]; then echo; fi
  local note
  while IFS= read -r note; do notes+=(--note "$note"); done < <(sed -n 's/^note: //p' "$work/$name.log")
  kill -0 "${pids[ivmqd]}" || { echo "bench: the broker has ended; nothing is written" >&2; exit 1; }
  ((status)) || return 0
  failed=1
  tail -n 3 "$work/$name.errors" >&2
  notes+=(--note "$name: status $status; $(tail -n 1 "$work/$name.errors" | tr -d '"')")
}

# Percent of both cores that others take, over two seconds.
busy_percent() {
  local _ a b c idle_before idle_after
  read -r _ a b c idle_before _ </proc/stat
  sleep 2
  read -r _ a b c idle_after _ </proc/stat
  local ticks=$((2 * $(getconf CLK_TCK) * $(nproc)))
  local idle=$((idle_after - idle_before))
  echo $((idle < ticks ? 100 - idle * 100 / ticks : 0))
}
busy=$(busy_percent)
if ((busy > 5)); then
  notes+=(--note "The machine was not idle: others took $busy % of it right before the run")
  echo "   ${notes[-1]}; much will stay unmeasured"
fi

echo "== measure, about $total s: $(sed -n 's/^model name[^:]*: //p;T;q' /proc/cpuinfo), $(uname -sr), cores 0 and 1 of $(nproc),"
echo "   now $("$bin/ring_bench" --rounds 1 --sizes 64 round_trip/line_limit |
  sed -nE 's/^ *1 +round_trip[^ ]+ +([a-z]+) .*/\1/p' | head -n 1) from each other (near: they share a cache, far: they do not)"
start_broker
start_roudi
for i in "${!steps[@]}"; do run_step $((i + 1)) "${steps[i]}"; done

echo "== write $out/performance.md"
mkdir -p "$out/performance"
readme=()
((${#quick[@]})) || [[ $out != docs ]] || readme=(--readme README.md)
python3 -B tests/bench/report/report.py "$IVMQ_BENCH_SAMPLES" "$out/performance/run.json" \
  "$out/performance.md" "${quick[@]}" --seconds $((SECONDS - began)) "${notes[@]}" "${readme[@]}"
exit "$failed" # what failed is among the notes
