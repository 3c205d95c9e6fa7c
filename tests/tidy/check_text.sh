#!/bin/bash
# check_text.sh ROOT: fails on what no source of ours may hold: work put off in comments, tests that are
# switched off, lint silenced without a reason, files that hold more than one idea.
set -euo pipefail
cd "$1"

lines_max=450
broken=0
complain() { echo "$1   <- $2"; broken=1; }

mapfile -t files < <(find . \( -path ./build -o -path './.git' \) -prune -o -type f \
  \( -name '*.h' -o -name '*.cc' -o -name '*.proto' -o -name '*.sh' -o -name CMakeLists.txt \) \
  -not -path './tests/tidy/*' -print | LC_ALL=C sort)
((${#files[@]})) || exit 0

while IFS= read -r line; do
  complain "$line" "do it now, or write an issue"
done < <(grep -nHE '\b(TODO|FIXME|XXX|HACK)\b' "${files[@]}")

while IFS= read -r line; do
  complain "$line" "a test runs or is not there"
done < <(grep -nHE '\bDISABLED_[A-Za-z]|GTEST_SKIP_ALL' "${files[@]}")

# A reason is the text after the check's name: // NOLINT(check): reason
while IFS= read -r line; do
  complain "$line" "say which check, and why: // NOLINT(check): reason"
done < <(grep -nHE 'NOLINT' "${files[@]}" | grep -vE 'NOLINT(NEXTLINE|BEGIN)?\([a-z][^)]*\): .|NOLINTEND')

while read -r count file; do
  [[ $file == total ]] || ((count <= lines_max)) ||
    complain "$file: $count lines" "at most $lines_max: split it by ideas"
done < <(wc -l "${files[@]}")
exit "$broken"
