#!/bin/bash
# A guest asks servers in two others; one of them is killed with requests in hand. They are aborted at
# once, as nothing but that ends them, and the other server takes over.
source "$(dirname "$0")/scenario.sh"

count=2000
by_first=200
threads=8
start_broker
boot_members north east south
for name in north east south; do start_agent "$name" auto; done
say "three guests"
begin north first "./ivmq_traffic_server echo $by_first"
begin east second "./ivmq_traffic_server echo"
await_saying north first serving 120
await_saying east second serving 120
begin south client "./ivmq_traffic_client echo $count $threads 2"
await_saying north first holding 120
guest_exec north 'killall -KILL ivmq_traffic_server'
say "killed the first server"

finish south client 300
say "the client: $last_words"
expect_equal "requests answered" "answered $count" "${last_words% aborted*}"
aborted=${last_words##* }
((aborted >= 1 && aborted <= threads)) || fail "$aborted requests were aborted"
guest_exec east 'killall -TERM ivmq_traffic_server'
finish east second 60
expect_equal "answers of the second" "served $((count - by_first))" "$last_words"

# The ring knows what the dead server had taken of its requests.
close_books echo 4 4
expect_equal "replies of the first" 1 \
  "$(audited_lines "counters: $by_first = $by_first delivered + 0 in flight, exact")"
