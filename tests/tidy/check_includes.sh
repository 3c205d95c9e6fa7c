#!/bin/bash
# check_includes.sh ROOT: fails when an #include breaks the order of the modules:
#
#   ringbuf <- transport <- {broker, sdk},  proto (ivmq/v1) <- {broker/control, sdk}
#   sdk/threads <- sdk/node <- {sdk/pubsub, sdk/services} <- sdk
#
# ringbuf knows the standard library alone, the keeper neither proto nor gRPC nor control, only agent
# and command of the sdk know gRPC, and the public headers of the sdk only std and each other
# (ivmq/protobuf.h also google/protobuf). Tests may include anything.
set -euo pipefail
cd "$1"

standard='<[a-z_0-9]+>'
rpc='[<"](grpc|grpcpp|google|ivmq/v1)/'
broken=0

# forbid WHY PATTERN FILE...: no include line of the files may match.
# allow WHY PATTERN FILE...: every include line of the files must match.
# Both patterns see what follows "#include".
check() { # forbid|allow WHY PATTERN FILE...
  local kind=$1 why=$2 pattern=$3 line
  shift 3
  (($#)) || return 0
  while IFS= read -r line; do
    echo "$line   <- $why"
    broken=1
  done < <(awk -v kind="$kind" -v pattern="^($pattern)" '
    /^[ \t]*#[ \t]*include/ {
      what = $0
      sub(/^[ \t]*#[ \t]*include[ \t]*/, "", what)
      if ((what ~ pattern) == (kind == "forbid")) print FILENAME ":" FNR ": " $0
    }' "$@")
}

sources() { # FOLDER [FIND ARGUMENT...]
  local folder=$1
  shift
  [[ -d $folder ]] || return 0
  find "$folder" \( -name '*.h' -o -name '*.cc' \) "$@" | LC_ALL=C sort
}

mapfile -t files < <(sources ringbuf)
check allow "ringbuf includes only std and ringbuf" "$standard|<immintrin.h>|\"ringbuf/" "${files[@]}"

mapfile -t files < <(sources transport)
check forbid "transport knows only ringbuf below it" '[<"](broker|sdk|ivmq|proto)/' "${files[@]}"
check forbid "transport knows no gRPC and no protobuf" "$rpc" "${files[@]}"

mapfile -t files < <(sources broker)
check forbid "broker does not include sdk" '[<"](sdk/|ivmq/[^v])' "${files[@]}"
mapfile -t files < <(sources broker/keeper; sources broker -maxdepth 1)
check forbid "the keeper links neither proto nor gRPC" "$rpc" "${files[@]}"
check forbid "the keeper does not include control" '[<"]broker/control/' "${files[@]}"
mapfile -t files < <(sources broker/control)
check forbid "control meets the keeper at broker/keeper_protocol.h alone" '[<"]broker/keeper/' \
  "${files[@]}"

mapfile -t files < <(sources sdk)
check forbid "sdk does not include broker" '[<"]broker/' "${files[@]}"
mapfile -t files < <(sources sdk -not -path 'sdk/agent/*' -not -path 'sdk/command/*')
check forbid "the core of the sdk links no gRPC" '[<"](grpc|grpcpp)/|[<"].*\.grpc\.pb\.h' "${files[@]}"

mapfile -t files < <(sources sdk/threads)
check forbid "sdk/threads knows no node" '"sdk/(node|pubsub|services)/' "${files[@]}"
mapfile -t files < <(sources sdk/node)
check forbid "sdk/node knows endpoints, not their kinds" '"sdk/(pubsub|services)/' "${files[@]}"
mapfile -t files < <(sources sdk/pubsub)
check forbid "topics and services do not know each other" '"sdk/services/' "${files[@]}"
mapfile -t files < <(sources sdk/services)
check forbid "topics and services do not know each other" '"sdk/pubsub/' "${files[@]}"

mapfile -t files < <(sources sdk/include -not -name protobuf.h)
check allow "public headers include only std and ivmq" "$standard|[<\"]ivmq/[a-z_]+\\.h" "${files[@]}"
mapfile -t files < <(sources sdk/include -name protobuf.h)
check allow "ivmq/protobuf.h adds only google/protobuf" \
  "$standard|[<\"]ivmq/[a-z_]+\\.h|<google/protobuf/" "${files[@]}"

# Every folder has its rule, or someone has to write one.
while IFS= read -r folder; do
  case $folder in
    ringbuf | transport | broker | sdk | tests | proto | build) ;;
    *) echo "$folder: has C++ sources, but no rule about what they may include"; broken=1 ;;
  esac
done < <(find . -mindepth 2 \( -name '*.h' -o -name '*.cc' \) -not -path './build/*' \
  -not -path './.*' | cut -d/ -f2 | sort -u)
exit "$broken"
