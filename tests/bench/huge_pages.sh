#!/bin/bash
# Runs a benchmark with its shared memory on huge pages, as ivmqd has it with --huge-pages: reserves 32
# of them (64 MiB), runs the command and gives them back. Needs root; takes as long as the command.
#   tests/bench/huge_pages.sh COMMAND [ARGUMENT...]
set -euo pipefail
(($#)) || { sed -n "s|^#   tests|usage: tests|p" "$0" >&2; exit 2; }
knob=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
before=$(<"$knob")
trap 'echo "$before" >"$knob"' EXIT
echo $((before + 32)) >"$knob" || { echo "huge_pages.sh: cannot reserve huge pages; run it as root" >&2; exit 1; }
(($(<"$knob") >= before + 32)) || { echo "huge_pages.sh: no 64 MiB of memory lie together" >&2; exit 1; }
"$@"
