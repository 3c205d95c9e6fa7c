#!/bin/bash
# Topics that come up in two guests reach subscribers by filters in two guests: what fits, all of it,
# and nothing else. `ivmq audit` accounts for every message of every link.
source "$(dirname "$0")/scenario.sh"

count=2000
start_broker
boot_members north east south
for name in north east south; do start_agent "$name" auto; done
say "three guests"
begin south all "./ivmq_traffic_subscriber 'readings.>' $((4 * count)) 120"
begin east cpus "./ivmq_traffic_subscriber 'readings.*.cpu' $((2 * count)) 120"
await_saying south all subscribed 120
await_saying east cpus subscribed 120

begin north cpu "./ivmq_traffic_publisher readings.north.cpu 1 $count 2"
begin east own "./ivmq_traffic_publisher readings.east.cpu 2 $count 2"
begin north disk "./ivmq_traffic_publisher readings.north.disk.sda 3 $count 1"
begin host stranger "./ivmq_traffic_publisher elsewhere.readings.cpu 4 10 0"
finish host stranger 120
while read -r guest publisher; do
  finish "$guest" "$publisher" 300
  expect_equal "messages of $publisher" "published $count" "${last_words% bytes*}"
done <<<$'north cpu\neast own\nnorth disk'
# A topic that nobody knew when the filters were registered, nor while the others were used.
begin host late "./ivmq_traffic_publisher readings.host.late 5 $count 1"
finish host late 300

finish east cpus 300
expect_equal "cpus in east" "received $((2 * count)) links 2" "${last_words% largest*}"
finish south all 300
expect_equal "all in south" "received $((4 * count)) links 4" "${last_words% largest*}"
for topic in north.cpu east.cpu north.disk.sda host.late; do
  guest_exec south "grep -qx 'readings.$topic: $count' /tmp/all.out" ||
    fail "south has not told $count messages of readings.$topic"
done

close_books readings.north.cpu 2 2
expect_equal "full accounts" 2 "$(audited_lines "counters: $count = $count delivered + 0 in flight, exact")"
close_books readings.east.cpu 2 2
close_books readings.north.disk.sda 1 1
close_books readings.host.late 1 1
