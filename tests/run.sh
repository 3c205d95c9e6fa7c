#!/bin/bash
# Installs what is needed, builds, and runs every test, the ones in real guests included.
#
#   tests/run.sh [--fast] [CTEST ARGUMENT...]
#     --fast         without the tests that boot guests (ctest label "guest")
#     anything else  goes to ctest, e.g. -R Ring, -L transport, --repeat until-fail:10
#   IVMQ_PRESET      CMake preset to build and test (default release; see CMakePresets.json)
#   IVMQ_JOBS        how many jobs at once (default: one a core)
# Ends with ctest's summary and its exit status.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${IVMQ_PRESET:-release}
jobs=${IVMQ_JOBS:-$(nproc)}

fast=0
ctest_arguments=()
for argument in "$@"; do
  case $argument in
    --fast) fast=1 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) ctest_arguments+=("$argument") ;;
  esac
done

# step WHAT COMMAND...: says what is done, and afterwards how long it took.
step() {
  local what=$1 began=$SECONDS status=0
  shift
  echo "== $what"
  "$@" || status=$?
  if ((status)); then
    echo "== $what: failed (status $status) after $((SECONDS - began)) s" >&2
    exit "$status"
  fi
  echo "== $what: $((SECONDS - began)) s"
}

groups=(--build)
((fast)) || groups+=(--vm)
step "install packages" deploy/install-deps.sh "${groups[@]}"
step "configure preset $preset" cmake --preset "$preset" --log-level=WARNING
step "build preset $preset" cmake --build "build/$preset" --parallel "$jobs"
if ((fast)); then
  ctest_arguments=(-LE '^guest$' "${ctest_arguments[@]}")
else
  step "build the guest image" deploy/guest/build-image.sh
fi
echo "== test preset $preset"
ctest --test-dir "build/$preset" --output-on-failure --parallel "$jobs" "${ctest_arguments[@]}"
