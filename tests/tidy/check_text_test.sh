#!/bin/bash
# Expects check_text.sh to name each thing that it forbids, and to leave alone what is allowed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# try TEXT refused|accepted [FILE]
try() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree/sdk"
  printf '%s\n' "$1" >"$tree/${3:-sdk/a.cc}"
  local verdict=accepted
  bash "$here/check_text.sh" "$tree" >/dev/null || verdict=refused
  [[ $verdict == "$2" ]] || { echo "'${1:0:60}': $verdict, expected $2"; failed=1; }
}

try '// Plain.' accepted
try '// TODO: later' refused
try '  # FIXME' refused sdk/a.sh
try 'TEST(RingTest, DISABLED_Wraps) {' refused
try 'foo();  // NOLINT' refused
try 'foo();  // NOLINT(google-explicit-constructor)' refused
try 'foo();  // NOLINT(google-explicit-constructor): a message is meant to convert' accepted
try '// NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread' accepted
try "$(seq 450)" accepted
try "$(seq 451)" refused
exit "$failed"
