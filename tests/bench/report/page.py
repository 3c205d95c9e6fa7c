"""The page of a run."""

from cells import MIN_SAMPLES, PLACEMENTS, quantile
from tables import (by_size, contenders_of, figures, number, percentiles, rate_cell, table, time_text,
                    with_spread)
from targets import all_targets, placed_targets


def placement_text(cells):
    texts = []
    for placement, lines in sorted(cells.placements().items(), key=lambda item: item[0] != "near"):
        texts.append(f"{placement}, a cache-line round trip {number(quantile(lines, 0.5))} ns, around "
                     f"{len(lines):,} samples")
    return "; ".join(texts) or "none"


def memory_text(text):
    kib = text.removesuffix(" kB")
    return f"{int(kib) / (1 << 20):.3g} GiB" if kib.isdigit() else text


def head(run, cells):
    machine = run["machine"]
    kind = "quick" if run["quick"] else "full"
    notes = "".join(f"- {note}\n" for note in run["notes"])
    return f"""# Performance

- Machine: {machine['processor']}{', a virtual machine' if machine['virtual'] else ''}, {memory_text(machine['memory'])} of memory
- Kernel: {machine['kernel']}
- Cores: 0 and 1 of {machine['cores']}, of each process the thread that sends and receives is pinned to one, what libraries start for themselves is not
- Placement: {placement_text(cells)}
- Run: {kind}, {run['seconds']} s, commit {machine['commit']}, {machine['date']}
- Beside: {machine.get('rivals', 'versions unknown')}
{notes}
Written by `./tests/bench.sh`, which does all of it again on your machine. Every figure is a median, with
quartiles in parentheses. A sample has the round trip of a cache line between the two cores measured before
and after it: *far* is 200 ns or more, *near* less, below 85 ns they are *same*, as a rule two threads of one
core, and left out; what changed in between is thrown away. A cell with fewer than {MIN_SAMPLES} samples is not
measured ("–"). Payloads are written and read by both sides, and every message is checked to be the one that
was due: of the ring's the first and the last eight bytes, after the first hundred and more, whose bytes are
all compared; of the SDK's and its rivals' a sum of all bytes.

"""


def verdicts(targets, cells):
    """How many are met, and which could not be."""
    met = sum(target.verdict == "met" for target in targets)
    missed = sum(target.verdict == "not met" for target in targets)
    unmeasured = len(targets) - met - missed
    text = f"{met} met, {missed} not met"
    if unmeasured:
        text += f", {unmeasured} not measured, and so not met either"
    for placement in PLACEMENTS:
        if placement not in cells.seen():
            text += (f". No sample was {placement}: the {len(list(placed_targets(cells, placement)))} targets of the other "
                     f"cores are not measured for {placement} ones, and so not met")
    return text + "."


def targets_part(cells):
    targets = list(all_targets(cells))
    rows = [[t.what, t.placement, t.wanted, t.text, f"**{t.verdict}**" if t.verdict == "not met" else t.verdict]
            for t in targets]
    return (f"## Targets\n\n{verdicts(targets, cells)}\n\n" +
            table(["what", "cores", "wanted", "figure", ""], rows) + "\n")


def plot(drawn, name, what):
    return f"![{what}]({drawn[name]})\n\n" if name in drawn else ""


def plots(drawn, name, what):
    return "".join(plot(drawn, f"{name}_{p}", f"{what}, {p} cores") for p in PLACEMENTS)


def limits_part(cells):
    rows = [[text] + [with_spread(cells.get(f"limits/wake/{name}/8", p)) for p in cells.seen()]
            for text, name in (("eventfd", "eventfd"), ("futex", "futex"),
                               ("a link whose subscriber blocks", "ivmq_block"))]
    lines = cells.placements()
    line = [time_text(quantile(lines[p], 0.5)) if p in lines else "–" for p in cells.seen()]
    return ("## Limits\n\nOf the machine, without and with ivmq. A wake-up is one way, from before the waker's "
            "call until the sleeper runs.\n\n" +
            table([""] + cells.seen(), [["cache-line round trip"] + line] + rows) + "\n")


def ring_part(cells, drawn):
    prefix = "ring/message/"
    return ("## Ring\n\nTwo processes, one copy in and one out. `ring_batch32` makes up to 32 messages visible "
            "together, `ring_each` every one at once. `boost_spsc_batch32` puts up to 32 into boost's queue and "
            "takes them out together, from and to an array of its own. `moodycamel` lives on a heap, so its two sides are "
            "threads of one process. `copy_limit` is the same bytes through a plain "
            "array, index exchanged every 8 KiB, its lines asked for ahead as the ring does; small messages, which "
            "the ring packs and publishes together, go faster. `line_limit` moves a message and its number, in the "
            "lines that they fill, and does nothing else.\n\n" + plots(drawn, "ring_throughput", "throughput of the ring") +
            "Messages a second by size:\n\n" +
            by_size(cells, prefix, contenders_of(cells, prefix), rate_cell) + "\nRound trips:\n\n" +
            by_size(cells, "ring/round_trip/", contenders_of(cells, "ring/round_trip/"), with_spread) + "\n")


def sdk_part(cells, drawn):
    message = contenders_of(cells, "path/message/")
    trips = contenders_of(cells, "path/round_trip/")
    return ("## The whole path of the SDK\n\nA broker, nodes of two processes, matched reliable links of 64 KiB (`ivmq_batched`: 256 KiB). "
            "`ivmq` spins and sends in batches of 32, `ivmq_each` makes every message visible at once, "
            "`ivmq_adaptive` and `ivmq_block` do so as well and wait as their names say, `ivmq_adaptive_batch32` sends "
            "as `ivmq`, `ivmq_batched` flushes after 64 KiB; `typed` are protobuf messages, `typed_by_hand` the same serialised and parsed by whoever sends bytes; `ring` and `ring_each` are the bare ring, without broker and "
            "nodes. Of the others, iceoryx and those called `_spin` spin, all else sleep. `tcp` may keep 32 messages "
            "back as `ivmq` does, `tcp_batched` 64 KiB of them, gRPC as many as it likes; ZeroMQ and `nng_buffered` have queues "
            "and threads of their own. Every end reads every byte. `ring`, iceoryx, and "
            "in round trips ivmq from 4 KiB on (`Borrow`) read them where they were written, all others a copy "
            "of their own. A quarter as many go before those that count.\n\n" +
            plots(drawn, "path_throughput", "throughput of the SDK") + "Messages a second by size:\n\n" +
            by_size(cells, "path/message/", message, rate_cell) + "\nRound trips, one after the other:\n\n" +
            by_size(cells, "path/round_trip/", trips, with_spread) +
            "\nRequests and replies; gRPC is a unary call:\n\n" +
            by_size(cells, "path/request/", contenders_of(cells, "path/request/"), with_spread) +
            "\nprotobuf alone, serialising and parsing a message, on one core; one way the two sides of a link do so at the "
            "same time:\n\n" + by_size(cells, "path/serialise_and_parse/", ["protobuf"], with_spread) + "\n")


def latency_part(cells, drawn):
    rate = cells.rate("path/at_rate/")
    return (f"## Latency at a fixed rate\n\nRound trips of 64 B, {rate:,} a second due whatever became of those "
            "before: the time counts from when it was due, so a pause is seen by all that it delayed, and samples "
            "in which the scheduler took a core away count too.\n\n" +
            plots(drawn, "latency", "percentiles of round trips") +
            percentiles(cells, contenders_of(cells, "path/at_rate/"), 64) + "\n")


def fan_out_part(cells):
    parts = []
    contenders = contenders_of(cells, "path/fan_out/")
    for placement in cells.seen():
        counts = sorted({int(n) for c in contenders for n in cells.names(f"path/fan_out/{c}/")})
        rows = [[c] + [with_spread(cells.get(f"path/fan_out/{c}/{n}", placement)) for n in counts]
                for c in contenders]
        parts.append(table([placement.capitalize()] + [f"to {n}" for n in counts], rows)
                     if any("(" in text for row in rows for text in row) else
                     f"{placement.capitalize()}: not measured.\n")
    return ("## Fan-out\n\nTime a message of 64 B from one process until all subscribers have read it, each a "
            "process of its own; they share a core.\n\n" + "\n".join(parts) + "\n")


def scale_part(cells, drawn):
    rows = []
    for kind, text in (("one_busy", "one busy"), ("all_busy", "all busy"),
                       ("all_busy_4k", "all busy, rings of 4 KiB")):
        for count in sorted(cells.names(f"scale/{kind}/"), key=int):
            rows.append([f"{int(count):,} {'link' if count == '1' else 'links'}, {text}"] +
                        [rate_cell(cells.get(f"scale/{kind}/{count}", p)) for p in cells.seen()])
    return ("## Scale\n\nOne subscriber with so many links, 64 B.\n\n" + plots(drawn, "links", "links of a node") +
            (table([""] + cells.seen(), rows) if rows else "Not measured.\n") +
            "\nSetting links up:\n\n" + figures(cells, "scale/set_up/") +
            "\nWhat control takes to find whom a newcomer meets, among so many topics and a "
            "tenth as many filters; a new filter meets one topic in a hundred:\n\n" +
            figures(cells, "scale/match_publisher_us/", "publisher, among ") + "\n" +
            figures(cells, "scale/match_filter_us/", "filter, among ") +
            "\nUntil a new peer knows all others and they know it:\n\n" +
            figures(cells, "scale/join_ms/", "among ") + "\n")


def costs_part(cells):
    return ("## Costs\n\nDoorbells:\n\n" + figures(cells, "doorbells/") +
            "\nProcesses that do nothing, and what one more of them takes. `two wake ups` is a program that does nothing "
            "but wake up twice a second:\n\n" + figures(cells, "cost/") +
            "\nInstructions of one process for a message of 64 B:\n\n" + figures(cells, "instructions/") + "\n")


def guest_part(run, cells):
    def part(kind, show):
        prefix = f"guest/{kind}/"
        return by_size(cells, prefix, contenders_of(cells, prefix), show, ("any",))

    notes = "".join(note + ".\n" for note in run["notes"] if note.lower().startswith("guests"))
    return (f"## In real guests\n\n{notes}From one guest to another by `ivmq bench`, beside TCP over virtio-net between the "
            "same two, whose cards a UNIX socket joins. Guests have one virtual CPU each. `ivmq_adaptive` is how "
            "nodes wait unless told otherwise (with one CPU they sleep at once), `ivmq_each` the same with a flush a "
            "message, `ivmq_large_ring` with a ring of 1 MiB instead of 64 KiB, `ivmq_batched` with that and a flush after 64 KiB; the others leave it to the "
            "ring, which makes messages visible in batches. `ivmq_spin` spins, all by interrupts (VFIO); `ivmq_polling` waits as the first "
            "and reaches the device without (sysfs). `tcp` writes every message by a system call, `tcp_batched` 64 "
            "KiB of them, the best that a stream can do; its buffers may grow beyond that ring, and Nagle's "
            "delay is off. All make the same messages and check them where they arrive. The cores are not "
            "placed, so these are not filed as near or far.\n\n"
            "Messages a second by size:\n\n" + part("message", rate_cell) +
            "\nRound trips, the medians of runs:\n\n" + part("round_trip", with_spread) +
            "\nRound trips, the 99th percentiles of runs:\n\n" + part("round_trip_p99", with_spread) +
            "\nDoorbells, of messages one way and of round trips both ways:\n\n" +
            figures(cells, "guest/doorbells/") + "\n")


def page(run, cells, drawn):
    return (head(run, cells) + targets_part(cells) + limits_part(cells) + ring_part(cells, drawn) +
            sdk_part(cells, drawn) + latency_part(cells, drawn) + fan_out_part(cells) +
            scale_part(cells, drawn) + costs_part(cells) + guest_part(run, cells)).rstrip() + "\n"
