# What the guest scenarios share; source it. Starts the lab with this build's programs.
# shellcheck shell=bash
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${IVMQ_BIN:-$root/build/release/bin}
# shellcheck source=../../deploy/guest/lib.sh
source "$root/deploy/guest/lib.sh"
lab_start --programs "${IVMQ_GUEST_PROGRAMS:-$bin/../programs.cpio}"

# What the host's programs use, as a guest's use /run/ivmq/node.sock.
export IVMQ_NODE_SOCKET=$LAB/node.sock IVMQ_ADMIN_SOCKET=$LAB/admin.sock

fail() {
  local log
  for log in "$LAB"/*.log; do echo "--- ${log##*/}"; tail -n 30 "$log"; done >&2
  echo "FAILED: $*" >&2
  exit 1
}

expect_equal() { # WHAT EXPECTED FOUND
  [[ $2 == "$3" ]] || fail "$1: expected '$2', found '$3'"
}

say() { echo "[$SECONDS s] $*"; }

broker_answers() { "$bin/ivmq" peers >/dev/null 2>&1 || ! lab_alive ivmqd; }

start_broker() { # [FLAG...]
  lab_spawn ivmqd "$bin/ivmqd" --realm default --size 256MiB --vectors 8 --vm-socket "$LAB/vm.sock" \
    --node-socket "$IVMQ_NODE_SOCKET" --admin-socket "$IVMQ_ADMIN_SOCKET" "$@"
  wait_for 30 "ivmqd to answer" broker_answers || fail "ivmqd does not answer"
  lab_alive ivmqd || fail "ivmqd ended"
}

# Guests are booted together and then waited for: under emulation the boot is what costs.
boot_members() { # NAME...
  local name
  for name; do guest_boot "$name" --socket "$LAB/vm.sock"; done
  for name; do guest_ready "$name" || fail "guest $name does not boot"; done
}

# The address of the guest's ivshmem device.
device_address() { # NAME
  guest_exec "$1" 'for device in /sys/bus/pci/devices/*; do
    [ "$(cat $device/vendor)$(cat $device/device)" != 0x1af40x1110 ] || echo ${device##*/}
  done'
}

start_agent() { # NAME auto|vfio|pci
  local name=$1 device=$2
  [[ $device == auto ]] || device+=:$(device_address "$name")
  [[ $device == pci:* ]] || device+=" --bind"
  guest_start "$name" agent "exec ivmq-agent --device $device --node-socket /run/ivmq/node.sock"
  guest_exec "$name" 'n=0; until [ -S /run/ivmq/node.sock ]; do
      n=$((n + 1)); [ -e /tmp/agent.status ] || [ $n = 600 ] && { cat /tmp/agent.out; exit 1; }
      sleep 0.1
    done' || fail "the agent in guest $name did not start"
}

# A program in the background in a guest, or on the host where the guest's name is "host".
begin() { # GUEST TAG COMMAND
  if [[ $1 == host ]]; then
    : >"$LAB/$2.log"
    # shellcheck disable=SC2086 # the words of the command
    (cd "$bin" && exec setpriv --pdeathsig KILL -- $3) </dev/null >"$LAB/$2.log" 2>&1 &
    LAB_PID[$2]=$!
  else
    guest_start "$1" "$2" "cd /ivmq/bin && exec $3"
  fi
}

# Waits for its end and leaves its last line in $last_words; fails unless its status is 0. Not in a
# subshell: only this shell may wait for a process of the host.
finish() { # GUEST TAG SECONDS
  local said status=0
  if [[ $1 == host ]]; then
    wait_for "$3" "$2 on the host" lab_gone "${LAB_PID[$2]}" || fail "$2 does not end"
    wait "${LAB_PID[$2]}" || status=$?
    unset "LAB_PID[$2]"
    said=$(cat "$LAB/$2.log")
  else
    said=$(guest_wait -t "$3" "$1" "$2") || status=$?
  fi
  ((status == 0)) || fail "$2 in $1 ended with status $status: $said"
  last_words=${said##*$'\n'}
}

# Whether a background program has said a line that matches PATTERN.
has_said() { # GUEST TAG PATTERN
  if [[ $1 == host ]]; then
    grep -q -- "$3" "$LAB/$2.log"
  else
    guest_exec "$1" "grep -q -- '$3' /tmp/$2.out"
  fi
}

has_said_or_ended() { # GUEST TAG PATTERN
  if [[ $1 == host ]]; then
    has_said "$@" || lab_gone "${LAB_PID[$2]}"
  else
    guest_exec "$1" "grep -q -- '$3' /tmp/$2.out || [ -e /tmp/$2.status ]"
  fi
}

await_saying() { # GUEST TAG PATTERN SECONDS
  wait_for "$4" "$2 in $1 to say '$3'" has_said_or_ended "$1" "$2" "$3" && has_said "$1" "$2" "$3" &&
    return
  [[ $1 == host ]] || guest_exec "$1" "cat /tmp/$2.out /tmp/agent.out" >&2
  fail "$2 in $1 did not say '$3'"
}

# The ID of a guest's device.
peer_of() { # NAME
  "$bin/ivmq" peers --json |
    sed -n "s/^{\"peer_id\":\([0-9]*\),.*\"pid\":${LAB_PID[$1]},.*/\1/p"
}

# `ivmq audit` of one topic or service; leaves what it says in $audited.
audit() { # TOPIC
  local status=0
  audited=$("$bin/ivmq" audit --topic "$1" 2>&1) || status=$?
  ((status == 0)) || fail "ivmq audit --topic $1 ended with status $status: $audited"
}

# How many lines of $audited have PATTERN.
audited_lines() { grep -c -e "$1" <<<"$audited" || true; }

links_have_ended() { # TOPIC LINKS
  audit "$1"
  (($(audited_lines '^link .*, ended: ') == $2 && $(audited_lines '^link ') == $2))
}

# Once all links of a topic have ended, none of them may be wrong, and so many add up exactly; the
# others are within bounds.
close_books() { # TOPIC LINKS EXACT
  wait_for 60 "the $2 links of $1 to end" links_have_ended "$1" "$2" || fail "$audited"
  say "$audited"
  expect_equal "links of $1 that add up" "$3" "$(audited_lines ', ended: adds up$')"
  expect_equal "links of $1 within bounds" "$(($2 - $3))" "$(audited_lines ', ended: within bounds')"
}

# Sends COUNT self-checking messages of all sizes from one member to another and checks all of them.
exchange() { # FROM TO TOPIC COUNT
  begin "$2" "subscriber.$3" "./ivmq_traffic_subscriber $3 $4 120"
  await_saying "$2" "subscriber.$3" subscribed 120
  begin "$1" "publisher.$3" "./ivmq_traffic_publisher $3 1 $4 1"
  local published received
  finish "$1" "publisher.$3" 400
  published=$last_words
  finish "$2" "subscriber.$3" 400
  received=$last_words
  say "$1 to $2: $published, $received"
  expect_equal "messages from $1 to $2" "received $4 links 1" "${received% largest*}"
  expect_equal "messages published by $1" "published $4" "${published% bytes*}"
}
