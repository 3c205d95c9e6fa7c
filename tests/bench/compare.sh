#!/bin/bash
# Compares the speed of the ring and of a plain reliable link with that of another revision: builds
# ring_bench and link_bench there and here, runs the two in turns and prints the median ratio of each
# figure at 64 bytes. Takes the time of one release build and about three seconds a pair.
#   tests/bench/compare.sh REVISION [PAIRS]     (default: 15 pairs)
# The other revision is built in build/compare, with this tree's benchmarks and its own library.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
revision=$(git rev-parse --verify --quiet "${1:-}^{commit}") ||
  { echo "usage: tests/bench/compare.sh REVISION [PAIRS]; '${1:-}' names no commit" >&2; exit 2; }
pairs=${2:-15}
[[ $pairs =~ ^[1-9][0-9]*$ ]] || { echo "PAIRS is '$pairs', expected a number from 1" >&2; exit 2; }
other=build/compare

rm -rf "$other"
mkdir -p "$other"
git archive "$revision" | tar -x -C "$other"
rm -rf "$other/tests/bench"
cp -r tests/bench "$other/tests/bench"
for tree in . "$other"; do
  (cd "$tree" && cmake --preset release --log-level=WARNING >/dev/null && cmake --build build/release --target link_bench ring_bench)
done

samples=$(mktemp)
ring=$(mktemp)
trap 'rm -f "$samples" "$ring"' EXIT
for ((i = 1; i <= pairs; ++i)); do
  # Whoever goes first changes from pair to pair.
  sides=(here there)
  ((i % 2)) || sides=(there here)
  for side in "${sides[@]}"; do
    tree=. # status 1: no sample could be taken; this pair goes without
    [[ $side == here ]] || tree=$other
    { "$tree/build/release/bin/link_bench" 1 || (($? == 1)); } | sed -n "s/^sample /$i $side link_/p" >>"$samples"
    for name in round_trip/ring/64 message/ring_each/64 message/ring_batch32/64; do
      : >"$ring"
      IVMQ_BENCH_SAMPLES=$ring "$tree/build/release/bin/ring_bench" --rounds 1 "$name" >/dev/null || (($? == 1))
      sed -n 's|.*"name":"\(.*\)/64","placement":"\([a-z]*\)".*"ns":\([0-9.]*\).*|'"$i $side"' \1 \2 \3|p' \
        "$ring" >>"$samples"
    done
  done
done

echo "speed here / speed at ${revision:0:12}, $pairs pairs in turns; pairs whose cores were placed alike"
awk '
  { ns[$1, $2, $3, $4] = $5; names[$3]; places[$4] }
  END {
    for (name in names) for (place in places) {
      n = 0
      for (i = 1; i <= '"$pairs"'; ++i)
        if ((i, "here", name, place) in ns && (i, "there", name, place) in ns)
          ratio[++n] = ns[i, "there", name, place] / ns[i, "here", name, place]
      if (!n) continue
      for (i = 2; i <= n; ++i) for (j = i; j > 1 && ratio[j] < ratio[j - 1]; --j) {
        t = ratio[j]; ratio[j] = ratio[j - 1]; ratio[j - 1] = t
      }
      printf "%-22s %-4s %3d pairs  median %.2f  from %.2f to %.2f\n", name, place, n, ratio[int((n + 1) / 2)], ratio[1], ratio[n]
    }
  }' "$samples" | sort
