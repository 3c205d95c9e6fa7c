#!/bin/bash
# The quick start in a built tree shows what it promises, does no work a second time, and leaves nothing
# behind, whether it ends by itself or is interrupted.
#
#   quickstart_test.sh ends|interrupted [--host]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
way=$1
shift
host=0
[[ ${1:-} == --host ]] && host=1
work=$(mktemp -d)
mkdir "$work/tmp"
: >"$work/in"
session=

# The processes of a session, by pid: nobody whom the quick start starts leaves its session.
members() {
  local stat line words
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    read -ra words <<<"${line##*) }"
    if [[ ${words[3]} == "$1" && ${words[0]} != Z ]]; then
      stat=${stat#/proc/}
      echo "${stat%/stat}"
    fi
  done
}

finish() {
  local pid
  if [[ -n $session ]]; then
    for pid in $(members "$session"); do kill -KILL "$pid" 2>/dev/null || true; done
  fi
  rm -rf "$work"
}
trap finish EXIT

fail() {
  echo "FAILED: $*" >&2
  cat "$work/out" >&2
  exit 1
}

await() { # WHAT COMMAND...
  local deadline=$((SECONDS + 300)) what=$1
  shift
  until "$@"; do
    ((SECONDS < deadline)) || fail "timed out waiting for $what"
    sleep 0.1
  done
}

said() { grep -q -- "$1" "$work/out"; }
gone() { [[ -z $(members "$session") ]]; }

start() { # MESSAGES: as from a terminal, which is a session of its own and does not ignore Ctrl-C
  TMPDIR=$work/tmp env --default-signal=INT setsid "$root/deploy/quickstart.sh" "${@:2}" --messages "$1" \
    <"$work/in" >"$work/out" 2>&1 &
  session=$!
}

status=0
began=$SECONDS
if [[ $way == ends ]]; then
  if ((host)); then where='' other=ivmq; else where='north ' other='south sh -c "exit 3"'; fi
  printf '%s\n' "${where}ivmq bench latency --duration 0.5" '' "$other" 'ivmq links --json' east >"$work/in"
  start 10 --shell "$@"
  wait "$session" || status=$?
  ((status == 0)) || fail "status $status"
  (($(grep -c ' context switches ' "$work/out") == 10)) || fail "it does not show 10 messages"
  said 'ninja: no work to do' || fail "it builds in a tree that is built"
  steps=$(grep -cE '^\[[0-9]+\] ' "$work/out")
  (($(grep -cE '^    done after [0-9]+\.[0-9] s$' "$work/out") == steps)) || fail "a step was not timed"
  ((host)) || said 'network cards: 0' || fail "the guests have network cards"
  for what in peers topics links; do said "\$ ivmq $what" || fail "it does not show $what"; done
  said 'host.procstat' || fail "the topic is not listed"
  said '^p99  ' || fail "its shell does not run ivmq bench"
  said '"topic":"host.procstat"' || fail "its shell does not list links"
  said "status $( ((host)) && echo 2 || echo 3)" || fail "its shell does not say how a command ended"
  said "neither 'north COMMAND'" || fail "its shell does not say what it takes"
else
  start 1000000 "$@"
  await "its messages" said ' #3 '
  # Itself, ivmqd and control; the two programs, or QEMU with what runs in it.
  (($(members "$session" | wc -l) >= 5)) || fail "only these run: $(members "$session")"
  [[ -n $(ls -A "$work/tmp") ]] || fail "its sockets are somewhere else"
  kill -INT -- "-$session"
  wait "$session" || status=$?
  ((status == 130)) || fail "status $status after SIGINT"
fi
echo "took $((SECONDS - began)) s"
await "all of its processes to end" gone
left=$(ls -A "$work/tmp")
[[ -z $left ]] || fail "it leaves behind: $left"
