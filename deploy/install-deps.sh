#!/bin/bash
# Installs what ivmq needs from Debian 12's own archive. Safe to run again: when all is there it
# asks dpkg alone and ends at once.
#
#   deploy/install-deps.sh [--build] [--vm] [--bench] [--check]
#     --build   compilers, libraries and checkers, to build and test
#     --vm      QEMU and what makes a guest image, to boot real guests
#     --bench   what benchmarks compare with, count with and draw with
#     --check   install nothing; exit 1 and name what is missing
#   Without --build, --vm and --bench: the first two. Needs root or sudo only when something is missing.
set -euo pipefail

build_packages=(
  g++ cmake ninja-build pkg-config ccache git ca-certificates python3-minimal
  clang-14 clang-tidy-14 clang-format-14 libclang-rt-14-dev
  libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler
  libabsl-dev libboost-dev libcli11-dev libspdlog-dev libfmt-dev libtomlplusplus-dev
  libsystemd-dev libxxhash-dev
  libgtest-dev libgmock-dev libbenchmark-dev relacy-dev
)
vm_packages=(qemu-system-x86 busybox-static cpio)
bench_packages=(libreaderwriterqueue-dev libzmq3-dev libnng-dev libiceoryx-posh-dev iceoryx gnuplot-nox
                valgrind python3)

groups=()
check_only=0
for argument in "$@"; do
  case $argument in
    --build | --vm | --bench) groups+=("${argument#--}") ;;
    --check) check_only=1 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install-deps: unknown argument '$argument'; see --help" >&2; exit 2 ;;
  esac
done
((${#groups[@]})) || groups=(build vm)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-deps: this is for Debian 12; elsewhere install the equivalents of:" >&2
  echo "  ${build_packages[*]} ${vm_packages[*]}" >&2
  exit 1
fi

wanted=()
for group in "${groups[@]}"; do
  declare -n packages="${group}_packages"
  wanted+=("${packages[@]}")
done

declare -A installed=()
while read -r package status; do
  [[ $status == ii* ]] && installed[$package]=1
done < <(dpkg-query -W -f='${Package} ${db:Status-Abbrev}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  [[ -n ${installed[$package]:-} ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((check_only)); then
  echo "missing: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: missing: ${missing[*]}" >&2
    echo "install-deps: run this as root, or install sudo" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "installing ${#missing[@]} packages: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3
     -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "install-deps: apt-get failed, see above" >&2
  exit 1
fi
