#!/bin/bash
# install_test.sh BUILD: installs the build into a folder of its own, builds projects against nothing but
# that, one by find_package and one by pkg-config, and runs them with the installed daemon.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
compiler=${CXX:-c++}
work=$(mktemp -d)
daemon=
finish() {
  if [[ -n $daemon ]]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "$*" >&2; exit 1; }

prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
for file in bin/ivmqd libexec/ivmq/ivmqd-control include/ivmq/ivmq.h include/ivmq/protobuf.h; do
  [[ -e $prefix/$file ]] || fail "$file is not installed"
done
grep -qx "ExecStart=$prefix/bin/ivmqd --config $prefix/etc/ivmq/ivmqd.toml" \
  "$prefix/lib/systemd/system/ivmqd.service" || fail "ivmqd.service starts something else"
# Wrong settings stay wrong: trying them again and again would bury what is wrong with them.
grep -qx "RestartPreventExitStatus=2" "$prefix/lib/systemd/system/ivmqd.service" ||
  fail "ivmqd.service is started again with settings that are wrong"
grep -q "^ExecStart=$prefix/bin/ivmq-agent " "$prefix/lib/systemd/system/ivmq-agent.service" ||
  fail "ivmq-agent.service starts something else"
echo "# mine" >>"$prefix/etc/ivmq/ivmqd.toml"
cmake --install "$build" --prefix "$prefix" >/dev/null
grep -q "^# mine" "$prefix/etc/ivmq/ivmqd.toml" || fail "installing again overwrites the settings"
[[ ! -e $prefix/include/ivmq/v1 ]] || fail "the protocol's headers are none of an application's business"
library=$(find "$prefix" -name libivmq.so)
readelf -d "$library" | grep -q 'SONAME.*\[libivmq.so.0\]' || fail "$library has no soname libivmq.so.0"
libdir=$(dirname "$library")

cmake -S "$here/outside" -B "$work/found" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="${IVMQ_TEST_CXX_FLAGS:-}" >"$work/configure.log" ||
  { cat "$work/configure.log"; exit 1; }
cmake --build "$work/found" >"$work/build.log" || { cat "$work/build.log"; exit 1; }

export PKG_CONFIG_PATH=$libdir/pkgconfig
# Word splitting is what the flags are made for.
# shellcheck disable=SC2046
"$compiler" -std=c++20 ${IVMQ_TEST_CXX_FLAGS:-} "$here/outside/bytes.cc" -o "$work/packaged" \
  $(pkg-config --cflags --libs ivmq) -Wl,-rpath,"$libdir"
[[ $(pkg-config --modversion ivmq) == 0.1.* ]] || fail "ivmq.pc tells another version"

export IVMQ_NODE_SOCKET=$work/node.sock
"$prefix/bin/ivmqd" --size 16MiB --node-socket "$IVMQ_NODE_SOCKET" --vm-socket "$work/vm.sock" \
  --admin-socket "$work/admin.sock" 2>"$work/daemon.log" &
daemon=$!
for ((i = 0; i < 600; ++i)); do
  [[ -S $IVMQ_NODE_SOCKET ]] && break
  kill -0 "$daemon" 2>/dev/null || { cat "$work/daemon.log"; fail "the installed ivmqd ended"; }
  sleep 0.1
done
# The README's program, found as the README says.
root=$(cd "$here/../.." && pwd)
mkdir "$work/readme"
{
  printf 'cmake_minimum_required(VERSION 3.25)\nproject(readme LANGUAGES CXX)\n'
  echo "add_executable(my_service $root/sdk/examples/readme_example.cc)"
  sed -n '/^```cmake$/,/^```$/{/^```/d;p}' "$root/README.md"
} >"$work/readme/CMakeLists.txt"
{ cmake -S "$work/readme" -B "$work/readme/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="${IVMQ_TEST_CXX_FLAGS:-}" &&
  cmake --build "$work/readme/build"; } >"$work/readme.log" 2>&1 || { cat "$work/readme.log"; exit 1; }
packages=$(sed -n 's/.*$(pkg-config --cflags --libs \([a-z ]*\)).*/\1/p' "$root/README.md")
# shellcheck disable=SC2046,SC2086
"$compiler" -std=c++20 ${IVMQ_TEST_CXX_FLAGS:-} "$root/sdk/examples/readme_example.cc" \
  -o "$work/readme/packaged" $(pkg-config --cflags --libs $packages) -Wl,-rpath,"$libdir"
for program in "$work/readme/build/my_service" "$work/readme/packaged"; do
  [[ $("$program") == "hello through shared memory" ]] || fail "the README's program: $program"
done
[[ $("$work/found/bytes") == "bytes: from outside" ]] || fail "find_package: bytes"
[[ $("$work/found/typed") == "typed: 42" ]] || fail "find_package: typed"
[[ $("$work/packaged") == "bytes: from outside" ]] || fail "pkg-config: bytes"
echo "installed, found and run"
