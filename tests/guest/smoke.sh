#!/bin/bash
# The lab itself: a guest without ivmq boots, runs commands, and gives back output and status.
source "$(dirname "$0")/scenario.sh"

cat >"$LAB/script" <<'SCRIPT'
echo "the script runs as pid $$" >/dev/ttyS2
exit 7
SCRIPT
guest_boot one --script "$LAB/script"
guest_ready one
guest_wait_marker one 'IVMQ_SCRIPT_EXIT 7'
grep -q 'the script runs' "$LAB/one.data" || fail "ttyS2 did not reach $LAB/one.data"

expect_equal "host name" one "$(guest_exec one hostname)"
expect_equal "two lines" $'a\nb' "$(guest_exec one 'echo a; echo b')"
status=0
guest_exec one 'exit 3' || status=$?
expect_equal "status of a command" 3 "$status"
guest_exec -t 1 one 'sleep 100' && fail "a command outlived its time"
expect_equal "after a timeout" here "$(guest_exec one 'echo here')"

guest_start one later 'sleep 1; echo done; exit 4'
status=0
said=$(guest_wait one later) || status=$?
expect_equal "output of a background command" done "$said"
expect_equal "status of a background command" 4 "$status"

guest_exec one 'ls /sys/bus/pci/drivers/vfio-pci >/dev/null' || fail "vfio-pci is not loaded"
expect_equal "network cards" lo "$(guest_exec one 'ls /sys/class/net')"
guest_exec one 'dmesg | grep -q "IOMMU enabled"' || fail "no IOMMU in the guest"
lab_stop one KILL || true
lab_alive one && fail "the guest outlived its end"
echo passed
