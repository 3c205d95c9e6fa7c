# What the guest scenarios share; source it. Starts the lab with this build's programs.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${IVMQ_BIN:-$root/build/release/bin}
# shellcheck source=../../deploy/guest/lib.sh
source "$root/deploy/guest/lib.sh"
programs=${IVMQ_GUEST_PROGRAMS:-$bin/../programs.cpio}
[[ -s $programs ]] || programs=
lab_start --programs "$programs"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

expect_equal() { # WHAT EXPECTED FOUND
  [[ $2 == "$3" ]] || fail "$1: expected '$2', found '$3'"
}
