#!/bin/bash
# Makes what a guest boots from: Debian's cloud kernel and an initramfs, no root file system.
#
#   deploy/guest/build-image.sh [--output DIR] [--network] [--programs FILE] [BINARY...]
#     --output DIR      where to keep it (default build/guest)
#     --network         also what a guest with a network card needs besides, to compare with TCP
#     --programs FILE   where the archive of the binaries goes (default DIR/programs.cpio)
#     BINARY            goes to /ivmq/bin in the guest, with the shared libraries that ldd names
# Leaves in DIR: vmlinuz, base.cpio (busybox, VFIO modules, init), programs.cpio, and with --network
# network.cpio (virtio-net's modules). Each is made again only when what it is made from has changed, so
# a second call takes a moment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=$here/../../build/guest
network=0
programs=
binaries=()
while (($#)); do
  case $1 in
    --output | --programs)
      [[ -n ${2:-} ]] || { echo "build-image: $1 of what? See --help" >&2; exit 2; } ;;&
    --output) output=$2; shift ;;
    --network) network=1 ;;
    --programs) programs=$2; shift ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "build-image: unknown argument '$1'; see --help" >&2; exit 2 ;;
    *) binaries+=("$1") ;;
  esac
  shift
done
mkdir -p "$output"
output=$(cd "$output" && pwd)
programs=${programs:-$output/programs.cpio}
stamp_file=${programs%.cpio}.stamp
# One at a time: tests and the quick start may call this together.
exec 9>"$output/.lock"
flock 9

# In the order in which they load. vfio-pci needs all the others.
modules=(irqbypass vfio vfio_virqfd vfio_iommu_type1 vfio-pci-core vfio-pci)
network_modules=(failover net_failover virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev
                 virtio_pci virtio_net)

make_cpio() { # FOLDER ARCHIVE
  (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$2.new"
  mv "$2.new" "$2"
}

# The name of the versioned package behind linux-image-cloud-amd64.
kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | head -n 1
}

fetch_kernel() {
  local package scratch
  package=$(kernel_package)
  if [[ -z $package ]]; then # a machine whose package lists are empty
    if ((EUID == 0)); then apt-get -q update >&2; else sudo apt-get -q update >&2; fi
    package=$(kernel_package)
  fi
  [[ -n $package ]] || { echo "build-image: apt knows no linux-image-cloud-amd64" >&2; exit 1; }
  scratch=$(mktemp -d "$output/kernel.XXXXXX")
  echo "fetching $package"
  (cd "$scratch" && apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 download "$package" ||
    { echo "build-image: apt-get download $package failed; try: apt-get update" >&2; exit 1; }
   dpkg -x ./*.deb unpacked)
  rm -rf "$output/modules" "$output/vmlinuz"
  mkdir "$output/modules"
  local module file
  for module in "${modules[@]}" "${network_modules[@]}"; do
    file=$(find "$scratch/unpacked/lib/modules" -name "$module.ko" -print -quit)
    [[ -n $file ]] || { echo "build-image: $package has no module $module" >&2; exit 1; }
    cp "$file" "$output/modules/"
  done
  cp "$scratch"/unpacked/boot/vmlinuz-* "$output/vmlinuz"
  rm -rf "$scratch"
}

put_modules() { # FOLDER MODULE...
  local folder=$1/lib/modules module
  shift
  mkdir -p "$folder"
  for module; do cp "$output/modules/$module.ko" "$folder/"; done
}

make_base() {
  local root
  root=$(mktemp -d "$output/base.XXXXXX")
  mkdir -p "$root/bin" "$root/dev"
  cp "$(command -v busybox)" "$root/bin/busybox"
  ln -s busybox "$root/bin/sh"
  put_modules "$root" "${modules[@]}"
  printf '%s\n' "${modules[@]}" >"$root/lib/modules/order"
  install -m 755 "$here/init" "$root/init"
  make_cpio "$root" "$output/base.cpio"
  rm -rf "$root"
}

# Comes behind base.cpio, whose order it replaces.
make_network() {
  local root
  root=$(mktemp -d "$output/network.XXXXXX")
  put_modules "$root" "${network_modules[@]}"
  printf '%s\n' "${modules[@]}" "${network_modules[@]}" >"$root/lib/modules/order"
  make_cpio "$root" "$output/network.cpio"
  rm -rf "$root"
}

is_any_missing() { # FILE...
  local file
  for file; do [[ -s $file ]] || return 0; done
  return 1
}

is_older() { # ARCHIVE SOURCE...: or is not there
  local archive=$1 source
  shift
  [[ -s $archive ]] || return 0
  for source; do [[ ! $source -nt $archive ]] || return 0; done
  return 1
}

# The programs, without debug information, and their libraries at the paths where ldd found them.
make_programs() {
  local root library
  root=$(mktemp -d "$output/programs.XXXXXX")
  mkdir -p "$root/ivmq/bin"
  for binary in "${binaries[@]}"; do
    if command -v strip >/dev/null; then
      strip --strip-debug -o "$root/ivmq/bin/${binary##*/}" "$binary"
    else
      cp "$binary" "$root/ivmq/bin/"
    fi
  done
  # Those of this build go where the loader always looks.
  local place
  while read -r library; do
    place=$library
    [[ $library == /lib* || $library == /usr/lib* ]] || place=/usr/lib/x86_64-linux-gnu/${library##*/}
    mkdir -p "$root${place%/*}"
    cp -L "$library" "$root$place"
  done < <(ldd "${binaries[@]}" | sed -n 's/^\t\(.* => \)\{0,1\}\(\/[^ ]*\) (0x.*/\2/p' | sort -u)
  make_cpio "$root" "$programs"
  rm -rf "$root"
}

# All modules are those of the kernel beside them: an image may be older than --network.
needed=("$output/vmlinuz")
if ((network)); then needed+=("$output/modules/virtio_net.ko"); fi
if is_any_missing "${needed[@]}"; then fetch_kernel; fi
if is_older "$output/base.cpio" "$here/init" "$output/vmlinuz" "$0"; then make_base; fi
if ((network)) && is_older "$output/network.cpio" "$output/vmlinuz" "$0"; then make_network; fi
if ((${#binaries[@]})); then
  stamp=$(stat -L -c '%n %Y %s' "$0" "${binaries[@]}"
          ldd "${binaries[@]}" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u |
            xargs -r stat -L -c '%n %Y %s')
  if [[ ! -s $programs || $stamp != "$(cat "$stamp_file" 2>/dev/null)" ]]; then
    rm -f "$stamp_file"
    make_programs
    printf '%s\n' "$stamp" >"$stamp_file"
  fi
fi
