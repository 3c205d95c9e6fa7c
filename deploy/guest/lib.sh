# Boots stock QEMU guests from bash and talks to them; source it.
#
#   lab_start [--image DIR] [--programs FILE]     a private folder ($LAB), clean-up on exit and Ctrl-C
#   lab_spawn NAME COMMAND...                     a host process, stopped at clean-up; log: lab_log NAME
#   lab_stop NAME [SIGNAL]                        stops a host process or guest that was started here
#   guest_boot NAME [--socket PATH]... [options]  see there
#   guest_ready NAME [SECONDS]                    waits until it takes commands
#   guest_exec [-t SECONDS] NAME COMMAND          runs it by sh in the guest: its output, its status
#   guest_start NAME TAG COMMAND                  the same in the background
#   guest_wait [-t SECONDS] NAME TAG              its output and status, once it has ended
#   wait_for SECONDS WHAT COMMAND...              polls until COMMAND succeeds
#
# Every process is known by its pid and ended by that, never by name. QEMU and the host processes
# also die with the shell that sourced this file, should it be killed outright.
# shellcheck shell=bash

declare -A LAB_PID=()     # name -> pid, of guests and host processes, as long as they should run
declare -A LAB_IS_GUEST=()
LAB=
LAB_COMMANDS=0

lab_fail() { echo "lab: $*" >&2; return 1; }
lab_log() { printf '%s\n' "$LAB/$1.log"; }
lab_alive() { [[ -n ${LAB_PID[$1]:-} ]] && kill -0 "${LAB_PID[$1]}" 2>/dev/null; }

lab_start() {
  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  LAB_IMAGE=$root/build/guest LAB_PROGRAMS=
  while (($#)); do
    case $1 in
      --image) LAB_IMAGE=$2 ;;
      --programs) LAB_PROGRAMS=$2 ;;
      *) lab_fail "lab_start: unknown argument '$1'"; return 2 ;;
    esac
    shift 2
  done
  LAB=$(mktemp -d "${TMPDIR:-/tmp}/ivmq-lab.XXXXXX")
  trap lab_cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

# Ends all that was started, youngest work first: guests at once, host processes by SIGTERM with ten
# seconds to obey. IVMQ_LAB_KEEP=1 leaves the folder with its logs.
lab_cleanup() {
  local status=$? name
  trap '' INT TERM HUP
  for name in "${!LAB_PID[@]}"; do
    [[ -z ${LAB_IS_GUEST[$name]:-} ]] || lab_stop "$name" KILL || true
  done
  for name in "${!LAB_PID[@]}"; do lab_stop "$name" || true; done
  if [[ -n $LAB && -z ${IVMQ_LAB_KEEP:-} ]]; then rm -rf "$LAB"; fi
  LAB=
  return "$status"
}

lab_spawn() { # NAME COMMAND...
  local name=$1
  shift
  setpriv --pdeathsig KILL -- "$@" </dev/null >"$LAB/$name.log" 2>&1 &
  LAB_PID[$name]=$!
}

# Status: that of the process, as `wait` gives it.
lab_stop() { # NAME [SIGNAL]
  local pid=${LAB_PID[$1]:-} signal=${2:-TERM} status=0
  [[ -n $pid ]] || return 0
  kill -s "$signal" "$pid" 2>/dev/null || true
  if [[ $signal != KILL ]]; then
    wait_for 10 "" lab_gone "$pid" || { echo "lab: $1 ignores SIG$signal, killed" >&2; kill -KILL "$pid"; }
  fi
  wait "$pid" 2>/dev/null || status=$?
  unset "LAB_PID[$1]" "LAB_IS_GUEST[$1]"
  return "$status"
}

lab_gone() { # PID: ended, or a zombie that waits for us to ask
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  [[ ${stat##*) } == Z* ]]
}

# Polls ten times a second. WHAT goes into the complaint; empty: no complaint.
wait_for() { # SECONDS WHAT COMMAND...
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    if ((SECONDS >= deadline)); then
      [[ -z $what ]] || echo "lab: timed out waiting for $what" >&2
      return 1
    fi
    sleep 0.1
  done
}

# Hardware acceleration is only used where a guest has been seen to boot with it: the device file
# alone proves nothing. The finding is kept beside the image.
lab_accelerator() {
  local known=$LAB_IMAGE/accelerator found=tcg
  if [[ ! -s $known ]]; then
    if [[ -w /dev/kvm ]] && LAB_PROGRAMS='' guest_boot kvm-probe --accelerator kvm &&
      guest_ready kvm-probe 15 2>/dev/null && guest_exec -t 10 kvm-probe true 2>/dev/null; then
      found=kvm
    fi
    lab_stop kvm-probe KILL || true
    echo "$found" >"$known.$$" && mv "$known.$$" "$known"
  fi
  cat "$known"
}

# Adds a card to the arguments of guest_boot, whose QEMU listens at PATH unless the other one does.
lab_network() { # PATH
  local role=on address=52:54:00:00:00:01
  if [[ -S $1 ]]; then role=off address=52:54:00:00:00:02; fi
  arguments+=(-netdev "stream,id=network,server=$role,addr.type=unix,addr.path=$1"
              -device "virtio-net-pci,netdev=network,mac=$address,romfile=")
}

# Options: --socket PATH   a VM socket of the broker; one ivshmem device each, none without
#          --vectors N     MSI-X vectors of each device (default 8; the broker's must be the same)
#          --memory MIB    (default 256)        --cpus N   (default 1)
#          --network PATH  a network card, joined to that of the other guest with this PATH; needs what
#                          build-image.sh --network makes
#          --script FILE   run at boot beside the command channel, output on the console
#          --accelerator   kvm or tcg (default: what works)
# Returns at once. Console: lab_log NAME. What the guest writes to /dev/ttyS2: $LAB/NAME.data.
guest_boot() {
  local name=$1 sockets=() vectors=8 memory=256 cpus=1 network='' script='' accelerator=''
  shift
  while (($#)); do
    case $1 in
      --socket) sockets+=("$2") ;;
      --vectors) vectors=$2 ;;
      --memory) memory=$2 ;;
      --cpus) cpus=$2 ;;
      --network) network=$2 ;;
      --script) script=$2 ;;
      --accelerator) accelerator=$2 ;;
      *) lab_fail "guest_boot: unknown argument '$1'"; return 2 ;;
    esac
    shift 2
  done
  [[ -s $LAB_IMAGE/base.cpio ]] ||
    { lab_fail "no guest image in $LAB_IMAGE: run deploy/guest/build-image.sh"; return 1; }
  [[ -n $accelerator ]] || accelerator=$(lab_accelerator)
  # An emulated guest trusts no TSC unless told to, and looks at the HPET's clock: a microsecond each time.
  local machine=q35 cpu=max clock=tsc=reliable
  if [[ $accelerator == kvm ]]; then machine+=,kernel-irqchip=split cpu=host clock=''; fi

  local initrd=$LAB/$name.initrd
  cat "$LAB_IMAGE/base.cpio" ${network:+"$LAB_IMAGE/network.cpio"} ${LAB_PROGRAMS:+"$LAB_PROGRAMS"} \
    >"$initrd"
  if [[ -n $script ]]; then
    mkdir -p "$LAB/$name.extra/lab"
    cp "$script" "$LAB/$name.extra/lab/script"
    (cd "$LAB/$name.extra" && find . -mindepth 1 | cpio --quiet -o -H newc -R 0:0) >>"$initrd"
  fi
  rm -f "$LAB/$name".command.{in,out}
  mkfifo "$LAB/$name".command.{in,out}
  : >"$LAB/$name.log"
  : >"$LAB/$name.data"

  # maxcpus: with one possible CPU, TCG compiles the guest's atomics and fences as plain instructions.
  # The IOMMU stands before the devices it serves.
  local arguments=(
    -name "$name" -accel "$accelerator" -machine "$machine" -cpu "$cpu" -m "$memory"
    -smp "$cpus,maxcpus=$((cpus > 2 ? cpus : 2))" -nodefaults -display none -no-reboot
    -device intel-iommu,intremap=on
    -kernel "$LAB_IMAGE/vmlinuz" -initrd "$initrd"
    -append "console=ttyS0 quiet panic=-1 no_timer_check intel_iommu=on $clock ivmq_guest=$name"
    -serial "file:$LAB/$name.log" -serial "pipe:$LAB/$name.command" -serial "file:$LAB/$name.data"
  )
  local index
  for index in "${!sockets[@]}"; do
    arguments+=(-chardev "socket,path=${sockets[index]},id=ivmq$index"
                -device "ivshmem-doorbell,chardev=ivmq$index,vectors=$vectors")
  done
  if [[ -n $network ]]; then lab_network "$network"; fi
  setpriv --pdeathsig KILL -- qemu-system-x86_64 "${arguments[@]}" \
    </dev/null >"$LAB/$name.qemu.log" 2>&1 &
  LAB_PID[$name]=$!
  LAB_IS_GUEST[$name]=1
  # It does not try again: the other one needs somebody who listens.
  [[ -z $network ]] || wait_for 20 "the network socket of guest $name" test -S "$network"
}

guest_said() { grep -q -- "$2" "$LAB/$1.log" 2>/dev/null; }
guest_said_or_died() { guest_said "$@" || ! lab_alive "$1"; }

# Waits until a line of the console matches PATTERN; fails at once if QEMU ends before.
guest_wait_marker() { # NAME PATTERN [SECONDS]
  wait_for "${3:-120}" "guest $1 to say '$2'" guest_said_or_died "$1" "$2" && guest_said "$1" "$2" &&
    return
  echo "lab: guest $1 did not say '$2'; its last words:" >&2
  tail -n 20 "$LAB/$1.log" "$LAB/$1.qemu.log" >&2
  return 1
}

guest_ready() { guest_wait_marker "$1" IVMQ_GUEST_READY "${2:-120}"; }

# One command at a time in each guest; for more, guest_start. Output is text, stderr within it.
# Status: that of the command; 143 when it ran out of time; 125 when the guest does not answer.
guest_exec() { # [-t SECONDS] NAME COMMAND
  local seconds=60
  if [[ $1 == -t ]]; then seconds=$2; shift 2; fi
  local name=$1 line deadline id
  id=$BASHPID.$((++LAB_COMMANDS))
  lab_alive "$name" || { echo "lab: guest $name does not run" >&2; return 125; }
  exec {to}<>"$LAB/$name.command.in" {from}<>"$LAB/$name.command.out"
  printf '%s %s %s\n' "$id" "$seconds" "$(printf '%s' "$2" | base64 -w 0)" >&"$to"
  deadline=$((SECONDS + seconds + 30))
  local status=125 part='' ended
  while ((SECONDS < deadline)); do
    ended=0
    IFS= read -r -t 1 -u "$from" line || ended=$?
    part+=$line
    if ((ended)); then # no whole line within a second
      lab_alive "$name" && continue
      echo "lab: guest $name ended during: $2" >&2
      break
    fi
    line=$part part=''
    if [[ $line == *$'\036'"$id:"* ]]; then
      printf '%s' "${line%%$'\036'*}"
      status=${line##*:}
      break
    fi
    [[ $line == *$'\036'* ]] || printf '%s\n' "$line" # the end of a command nobody waits for
  done
  ((status != 125)) || echo "lab: guest $name does not answer to: $2" >&2
  exec {to}>&- {from}>&-
  return "$status"
}

guest_start() { # NAME TAG COMMAND
  guest_exec "$1" "rm -f /tmp/$2.status
( (
$3
) >/tmp/$2.out 2>&1; echo \$? >/tmp/$2.new; mv /tmp/$2.new /tmp/$2.status ) </dev/null >/dev/null 2>&1 &"
}

guest_wait() { # [-t SECONDS] NAME TAG
  local seconds=60
  if [[ $1 == -t ]]; then seconds=$2; shift 2; fi
  guest_exec -t "$seconds" "$1" "while [ ! -e /tmp/$2.status ]; do sleep 0.1; done
cat /tmp/$2.out; exit \$(cat /tmp/$2.status)"
}
