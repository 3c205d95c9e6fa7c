#!/bin/bash
# Shows ivmq at work, from a bare Debian 12: installs packages, builds, starts the broker, boots two QEMU
# guests without network cards, and lets one send its own /proc statistics to the other, ten times
# a second, through shared memory. Stops everything that it started, also on Ctrl-C.
#
#   deploy/quickstart.sh [--host] [--messages N] [--shell]
#     --host         two processes on this host instead of two guests; no QEMU needed
#     --messages N   how many messages to show (default 30)
#     --shell        afterwards runs what you type in the guests, and `ivmq` on the host, until Ctrl-D
#   IVMQ_PRESET      CMake preset to build (default release; see CMakePresets.json)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=${IVMQ_PRESET:-release}
bin=$root/build/$preset/bin
# shellcheck source=guest/lib.sh
source "$root/deploy/guest/lib.sh"

host_only=0
messages=30
shell=0
while (($#)); do
  case $1 in
    --host) host_only=1 ;;
    --messages) messages=${2:-}; shift $(($# > 1)) ;;
    --shell) shell=1 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
  shift
done
[[ $messages =~ ^[1-9][0-9]*$ ]] || { echo "quickstart: --messages: '$messages' is not a number from 1" >&2; exit 2; }

# Also while packages are installed and all is built, where the shell heeds no signal of its own.
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
step_number=0
# step WHAT COMMAND...: says what is done, and afterwards how long it took.
step() {
  local what=$1 began=$EPOCHREALTIME status=0 took
  shift
  echo "${bold}[$((++step_number))] $what${plain}"
  "$@" || status=$?
  took=$((${EPOCHREALTIME/[.,]/} - ${began/[.,]/}))
  printf '    %s after %d.%d s\n' "$( ((status)) && echo failed || echo done)" \
    $((took / 1000000)) $((took % 1000000 / 100000))
  ((status == 0)) || exit "$status"
}

install_packages() {
  if ((host_only)); then "$root/deploy/install-deps.sh" --build; else "$root/deploy/install-deps.sh"; fi
}

build() {
  (cd "$root" && cmake --preset "$preset" --log-level=WARNING >/dev/null &&
    cmake --build "build/$preset" --parallel --target \
      ivmqd ivmqd-control ivmq-agent ivmq-command procstat_publisher procstat_subscriber)
}

guest_image() {
  "$root/deploy/guest/build-image.sh" --programs "$root/build/$preset/quickstart.cpio" \
    "$bin/ivmq-agent" "$bin/ivmq" "$bin/examples/procstat_publisher" \
    "$bin/examples/procstat_subscriber"
}

start_broker() {
  lab_spawn ivmqd "$bin/ivmqd" --realm default --size 256MiB --vectors 8 --vm-socket "$LAB/vm.sock" \
    --node-socket "$LAB/node.sock" --admin-socket "$LAB/admin.sock"
  wait_for 20 "ivmqd to answer" broker_answers || { cat "$(lab_log ivmqd)" >&2; return 1; }
  echo "    ivmqd runs as pid ${LAB_PID[ivmqd]}, sockets in $LAB"
}
broker_answers() {
  lab_alive ivmqd || { echo "quickstart: ivmqd ended" >&2; return 0; }
  "$bin/ivmq" --admin-socket "$LAB/admin.sock" peers >/dev/null 2>&1
}

boot_guests() {
  guest_boot north --socket "$LAB/vm.sock"
  guest_boot south --socket "$LAB/vm.sock"
  guest_ready north
  guest_ready south
  echo "    guests 'north' and 'south' are up; network cards: $(guest_exec north \
    'ls /sys/class/net | grep -vc "^lo$"')"
}

start_agents() {
  local guest
  for guest in north south; do
    guest_start "$guest" agent 'exec ivmq-agent --device auto --bind --node-socket /run/ivmq/node.sock'
  done
  for guest in north south; do
    guest_exec "$guest" 'n=0; until [ -S /run/ivmq/node.sock ]; do
        n=$((n + 1)); [ -e /tmp/agent.status ] || [ $n = 300 ] && { cat /tmp/agent.out; exit 1; }
        sleep 0.1
      done' || { echo "quickstart: the agent in guest $guest did not start" >&2; return 1; }
  done
}

start_programs() {
  if ((host_only)); then
    IVMQ_NODE_SOCKET=$LAB/node.sock lab_spawn subscriber "$bin/examples/procstat_subscriber"
    IVMQ_NODE_SOCKET=$LAB/node.sock lab_spawn publisher "$bin/examples/procstat_publisher" north
    shown=$(lab_log subscriber)
  else
    guest_start south subscriber 'exec procstat_subscriber >/dev/ttyS2'
    guest_start north publisher 'exec procstat_publisher'
    shown=$LAB/south.data
  fi
}

# Prints the subscriber's lines as they come, until there are enough.
show_messages() {
  local seen=0 complete lines deadline=$((SECONDS + 60))
  while ((seen < messages)); do
    # A line that is still being written is for the next look.
    complete=$({ wc -l <"$shown"; } 2>/dev/null || echo 0)
    mapfile -t lines < <(head -n "$((complete < messages ? complete : messages))" "$shown" | tail -n "+$((seen + 1))")
    if ((${#lines[@]})); then printf '    %s\n' "${lines[@]}"; fi
    seen=$((seen + ${#lines[@]}))
    if ((SECONDS > deadline)); then
      echo "quickstart: only $seen of $messages messages came" >&2
      ((host_only)) || guest_exec north 'cat /tmp/publisher.out /tmp/agent.out' >&2 || true
      ((host_only)) || guest_exec south 'cat /tmp/subscriber.out /tmp/agent.out' >&2 || true
      return 1
    fi
    sleep 0.05
  done
}

show_state() {
  local what
  for what in peers topics links; do
    echo "    \$ ivmq $what"
    "$bin/ivmq" --admin-socket "$LAB/admin.sock" "$what" | sed 's/^/    /'
  done
}

# Runs what stdin says, a line each: `north COMMAND` or `south COMMAND` in that guest, `ivmq …` on the host.
take_commands() {
  local line status patience=60
  if ((host_only)); then
    lab_spawn bench_server env IVMQ_NODE_SOCKET="$LAB/node.sock" "$bin/ivmq" bench serve
    echo "    for example: ivmq bench latency --wait spin, or ivmq links"
  else
    guest_start south bench_server 'exec ivmq bench serve'
    echo "    for example: north ivmq bench throughput --duration 5, or ivmq links"
  fi
  echo "    each has $patience s; Ctrl-D ends, Ctrl-C at once"
  while printf '> ' && IFS= read -r line; do
    status=0
    case $line in
      '') continue ;;
      north\ * | south\ *) guest_exec -t "$patience" "${line%% *}" "${line#* }" || status=$? ;;
      ivmq | ivmq\ *)
        IVMQ_NODE_SOCKET=$LAB/node.sock IVMQ_ADMIN_SOCKET=$LAB/admin.sock PATH=$bin:$PATH \
          timeout --foreground "$patience" bash -c "$line" </dev/null || status=$?
        ;;
      *) echo "    neither 'north COMMAND', 'south COMMAND' nor 'ivmq …'" ;;
    esac
    ((status == 0)) || echo "    status $status"
  done
  echo
}

stop_everything() {
  local name
  for name in north south bench_server publisher subscriber; do lab_stop "$name" || true; done
  lab_stop ivmqd || { echo "quickstart: ivmqd did not end cleanly" >&2; return 1; }
}

step "install packages" install_packages
step "build preset $preset" build
((host_only)) || step "make the guest image" guest_image
lab_start --programs "$root/build/$preset/quickstart.cpio"
step "start the broker" start_broker
if ((!host_only)); then
  step "boot two guests without network cards" boot_guests
  step "start ivmq-agent in both" start_agents
fi
step "start a subscriber in one and a publisher in the other" start_programs
step "messages as they arrive" show_messages
step "what the broker knows" show_state
if ((shell)); then step "your commands; a server of \`ivmq bench\` runs" take_commands; fi
step "stop everything" stop_everything
