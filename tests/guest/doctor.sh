#!/bin/bash
# `ivmq doctor` in guests and on the host: with vectors= as the realm has them all is well; with
# others it fails, says so and names the mend.
source "$(dirname "$0")/scenario.sh"

# Fails unless a program's output has each of these.
expect_said() { # WHO TEXT PATTERN...
  local who=$1 text=$2 pattern
  shift 2
  for pattern; do grep -q -e "$pattern" <<<"$text" || fail "$who has not said '$pattern': $text"; done
}

examine() { # host|GUEST STATUS: what doctor says goes to $said
  local status=0
  if [[ $1 == host ]]; then
    said=$("$bin/ivmq" doctor) || status=$?
  else
    said=$(guest_exec -t 60 "$1" 'ivmq doctor') || status=$?
  fi
  say "doctor on $1: status $status, ${said##*$'\n'}"
  expect_equal "status of doctor on $1 ($said)" "$2" "$status"
}

start_broker
guest_boot right --socket "$LAB/vm.sock"
guest_boot wrong --socket "$LAB/vm.sock" --vectors 4
for name in right wrong; do guest_ready "$name" || fail "guest $name does not boot"; done
start_agent right auto
say "right has an agent, wrong has none"
examine host 1
expect_said host "$said" "^ok   QEMU ${LAB_PID[right]} " \
  "^FAIL QEMU ${LAB_PID[wrong]} .*vectors=4 of chardev ivmq0, but its realm has 8" \
  '-> start it with vectors=8' \
  "^warn peer .*$(peer_of wrong) of realm default (QEMU ${LAB_PID[wrong]}): no agent has said hello"
! grep -q "^warn peer .*QEMU ${LAB_PID[right]}" <<<"$said" || fail "doctor warns of a good VM: $said"

examine right 0
expect_said right "$said" '^ok   device .*revision 1' '^ok   MSI-X .*: 8 vectors' \
  '^ok   bus mastering .*on' '^ok   driver .*vfio-pci' '^ok   region .*8 vectors, attached:vfio' \
  '^ok   doorbell .*round trip' '^ok   control '
start_agent wrong auto
examine wrong 1
expect_said wrong "$said" '^FAIL vectors .* has 4, but realm default has 8' \
  '-> start QEMU with vectors=8'

lab_stop wrong KILL || true
# It looks at every QEMU of this machine: those that are not ours are no matter.
status=0
said=$("$bin/ivmq" doctor) || status=$?
expect_equal "status of doctor on the host ($said)" "$(grep -c -m 1 '^FAIL' <<<"$said" || true)" "$status"
! grep '^FAIL' <<<"$said" | grep -qv '^FAIL QEMU' || fail "a good host is not well: $said"
expect_said host "$said" "^ok   QEMU ${LAB_PID[right]} " '^ok   realm .* 1 VM$' '^ok   control '

guest_exec right 'killall -TERM ivmq-agent; while pidof ivmq-agent; do sleep 0.1; done' >/dev/null
examine right 1
expect_said right "$said" '^FAIL daemon ' '-> start ivmq-agent'
