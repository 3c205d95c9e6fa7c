#!/bin/bash
# A region on huge pages: QEMU maps it, and messages go both ways. Reserves the pages for as long as it
# takes; skipped where that is not allowed or there are none.
source "$(dirname "$0")/scenario.sh"

knob=/proc/sys/vm/nr_hugepages
before=$(<"$knob")
needed=$((before + 128)) # 256 MiB
give_back() { echo "$before" >"$knob"; }
if ! echo "$needed" 2>/dev/null >"$knob" || (($(<"$knob") < needed)); then
  give_back 2>/dev/null || true
  echo "skipped: no 256 MiB of huge pages can be reserved here"
  exit 77
fi
trap 'lab_cleanup; give_back' EXIT

start_broker --huge-pages
expect_equal "free huge pages" "$before" "$(awk '/^HugePages_Free/ { print $2 }' /proc/meminfo)"
boot_members guest
start_agent guest auto
say "one guest, on huge pages"
exchange host guest traffic.down 20000
exchange guest host traffic.up 20000
