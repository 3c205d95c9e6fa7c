#!/bin/bash
# 100,000 protobuf messages from 0 bytes to the largest record go from one guest to another, in order,
# none lost, each with its checksum. $1: how both reach the device, vfio (interrupts) or pci (polling).
source "$(dirname "$0")/scenario.sh"

start_broker
boot_members north south
start_agent north "$1"
start_agent south "$1"
say "two guests, device by $1"
exchange north south traffic.north 100000
