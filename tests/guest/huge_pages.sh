#!/bin/bash
# A region on huge pages: QEMU maps it, and messages go both ways. Reserves the pages for as long as it
# takes; skipped where that is not allowed or there are none.
source "$(dirname "$0")/scenario.sh"

pool=/sys/kernel/mm/hugepages/hugepages-2048kB
knob=$pool/nr_hugepages
before=$(cat "$knob" 2>/dev/null || echo 0)
free=$(cat "$pool/free_hugepages" 2>/dev/null || echo 0)
needed=$((before + 128)) # 256 MiB
give_back() { { echo "$before" >"$knob"; } 2>/dev/null || true; }
trap 'lab_cleanup; give_back' EXIT
if ! echo "$needed" 2>/dev/null >"$knob" || (($(<"$knob") < needed)); then
  echo "skipped: no 256 MiB of huge pages can be reserved here"
  exit 77
fi

start_broker --huge-pages
expect_equal "free huge pages" "$free" "$(<"$pool/free_hugepages")"
boot_members guest
start_agent guest auto
say "one guest, on huge pages"
exchange host guest traffic.down 20000
exchange guest host traffic.up 20000
