#!/bin/bash
# Counts with callgrind how many instructions a process takes to publish and to receive a message of 64
# bytes, and appends the figures of five runs to the file that IVMQ_BENCH_SAMPLES names. Needs a broker at
# IVMQ_NODE_SOCKET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
messages=2048 # kBatches batches of instructions_bench
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
for _ in 1 2 3 4 5; do
  valgrind --tool=callgrind --callgrind-out-file="$counts" build/release/bin/instructions_bench 2>&1
  callgrind_annotate --inclusive=yes --threshold=100 "$counts" |
    awk -v messages="$messages" '
      match($0, /:(PublishEach|PublishBatch|PollBatch|ReceiveEach) /) {
        name = substr($0, RSTART + 1, RLENGTH - 2)
        gsub(",", "", $1)
        what = name == "PublishEach" ? "publish, a flush each" : name == "PublishBatch" ? "publish, 32 a flush" \
          : name == "PollBatch" ? "poll, 32 at a time" : "receive, one at a time"
        if (!done[name]++)
          printf "{\"group\":\"instructions\",\"name\":\"%s\",\"value\":%.1f,\"unit\":\"instructions\"}\n",
            what, $1 / messages
      }' >>"${IVMQ_BENCH_SAMPLES:-/dev/stdout}"
done
