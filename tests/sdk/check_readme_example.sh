#!/bin/bash
# check_readme_example.sh ROOT: fails unless README.md quotes sdk/examples/readme_example.cc as it is,
# between "<!-- example: ... -->" and "<!-- end of example -->".
set -euo pipefail
cd "$1"
file=sdk/examples/readme_example.cc
diff -u "$file" <(awk -v start="<!-- example: $file -->" '
  $0 == "<!-- end of example -->" { inside = 0 }
  inside && !/^```/ { print }
  $0 == start { inside = 1 }' README.md) || {
  echo "README.md does not quote $file as it is: copy it there, between the two comments"
  exit 1
}
lines=$(wc -l <"$file")
((lines <= 26)) || { echo "$file has $lines lines: the example should fit 25"; exit 1; }
