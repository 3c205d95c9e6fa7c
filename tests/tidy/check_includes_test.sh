#!/bin/bash
# Breaks each include rule in a tree of its own and expects check_includes.sh to name the line; then
# allows what is allowed and expects silence.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# try FILE INCLUDE refused|accepted
try() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree/$(dirname "$1")"
  printf '// A file.\n#include %s\n' "$2" >"$tree/$1"
  local said verdict=accepted
  said=$(bash "$here/check_includes.sh" "$tree") || verdict=refused
  if [[ $verdict != "$3" || ($verdict == refused && $said != "$1:2: "*) ]]; then
    echo "#include $2 in $1: $verdict, expected $3. It said: $said"
    failed=1
  fi
}

try ringbuf/a.h '<atomic>' accepted
try ringbuf/a.h '"ringbuf/b.h"' accepted
try ringbuf/a.h '<sys/mman.h>' refused
try ringbuf/a.h '<unistd.h>' refused
try ringbuf/a.h '"transport/b.h"' refused
try ringbuf/a.cc '"spdlog/spdlog.h"' refused
try transport/a.cc '"ringbuf/b.h"' accepted
try transport/a.cc '<sys/mman.h>' accepted
try transport/a.cc '"broker/keeper/b.h"' refused
try transport/a.cc '"sdk/node.h"' refused
try transport/a.cc '"ivmq/v1/control.pb.h"' refused
try transport/a.cc '<ivmq/ivmq.h>' refused
try transport/a.cc '<grpcpp/grpcpp.h>' refused
try transport/a.cc '<google/protobuf/message.h>' refused
try broker/keeper/a.cc '"transport/b.h"' accepted
try broker/keeper/a.cc '"broker/keeper_protocol.h"' accepted
try broker/keeper/a.cc '"ivmq/v1/control.pb.h"' refused
try broker/keeper/a.cc '<grpcpp/grpcpp.h>' refused
try broker/keeper/a.cc '"broker/control/b.h"' refused
try broker/keeper_protocol.h '"ivmq/v1/control.pb.h"' refused
try broker/control/a.cc '"ivmq/v1/control.pb.h"' accepted
try broker/control/a.cc '"sdk/node.h"' refused
try broker/control/a.cc '<ivmq/ivmq.h>' refused
try broker/control/a.cc '"broker/keeper/b.h"' refused
try sdk/node.cc '"ivmq/v1/control.pb.h"' accepted
try sdk/node.cc '"broker/keeper_protocol.h"' refused
try sdk/node.cc '<grpcpp/grpcpp.h>' refused
try sdk/node.cc '"sdk/services/client_impl.h"' accepted
try sdk/pubsub/a.cc '"sdk/node/node_impl.h"' accepted
try sdk/pubsub/a.cc '"sdk/services/client_impl.h"' refused
try sdk/services/a.cc '"sdk/pubsub/qos.h"' refused
try sdk/node/a.cc '"sdk/pubsub/qos.h"' refused
try sdk/threads/a.cc '"sdk/node/session.h"' refused
try sdk/node.cc '"ivmq/v1/control.grpc.pb.h"' refused
try sdk/agent/a.cc '<grpcpp/grpcpp.h>' accepted
try sdk/command/a.cc '"ivmq/v1/admin.grpc.pb.h"' accepted
try sdk/command/a.cc '"broker/control/b.h"' refused
try sdk/include/ivmq/a.h '<string_view>' accepted
try sdk/include/ivmq/a.h '"ivmq/status.h"' accepted
try sdk/include/ivmq/a.h '"ivmq/v1/control.pb.h"' refused
try sdk/include/ivmq/a.h '<absl/status/status.h>' refused
try sdk/include/ivmq/a.h '"ringbuf/b.h"' refused
try sdk/include/ivmq/a.h '<google/protobuf/message.h>' refused
try sdk/include/ivmq/protobuf.h '<google/protobuf/message.h>' accepted
try sdk/include/ivmq/protobuf.h '<grpcpp/grpcpp.h>' refused
try tests/sdk/a.cc '"broker/control/b.h"' accepted
try sdk/node.cc '  "broker/keeper_protocol.h"' refused

rm -rf "${tree:?}"/*
mkdir "$tree/util" && touch "$tree/util/a.h"
if bash "$here/check_includes.sh" "$tree" >/dev/null; then
  echo "a folder without a rule is accepted"
  failed=1
fi
exit "$failed"
