#!/bin/bash
# Every promise of a device (tests/transport/device_conformance.h) against the PCI device of a real
# guest, with another guest as its partner and a third that must notice nothing.
# $1: how the guest under test reaches its device, vfio or pci; the others use vfio.
source "$(dirname "$0")/scenario.sh"

start_broker
boot_members partner bystander tested
conformance() { # NAME vfio|pci ARGUMENTS
  echo "/ivmq/bin/ivmq_device_conformance --device $2:$(device_address "$1") $3"
}
begin_echo() { # NAME SLOT
  guest_start "$1" echo "$(conformance "$1" vfio "--role echo --slot $2 --bind")"
  await_saying "$1" echo "peer [1-9].* 8 vectors" 60
}
begin_echo partner 0
begin_echo bystander 1
bind=
[[ $1 == pci ]] || bind=--bind
guest_start tested check "$(conformance tested "$1" "--role check --bystander --end $bind")"
status=0
said=$(guest_wait -t 400 tested check) || status=$?
echo "$said"
((status == 0)) || fail "the device does not conform"
expected=0
[[ $1 == pci ]] || expected=8
[[ $said == *"$1:"*": peer "*", $expected vectors"* ]] || fail "it is not the device that was meant"
finish partner echo 60
finish bystander echo 60
