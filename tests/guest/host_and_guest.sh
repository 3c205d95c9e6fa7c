#!/bin/bash
# 100,000 messages go from a host process into a guest, and as many from the guest to a host process.
# $1: how the guest reaches the device, vfio (interrupts) or pci (polling).
source "$(dirname "$0")/scenario.sh"

start_broker
boot_members guest
start_agent guest "$1"
say "one guest, device by $1"
exchange host guest traffic.down 100000
exchange guest host traffic.up 100000
