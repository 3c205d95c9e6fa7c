#!/bin/bash
# Messages go from a host process into a guest, and from a guest to a host process.
source "$(dirname "$0")/scenario.sh"

start_broker
boot_members guest
start_agent guest auto
say "one guest"
exchange host guest traffic.down 100000
exchange guest host traffic.up 100000
