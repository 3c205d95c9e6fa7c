"""The short table and the plot that the README shows."""

from tables import contenders_of, rate, table, time_text

BEGIN = "<!-- performance: begin (written by tests/bench.sh) -->\n"
END = "<!-- performance: end -->"
SIZE = 64


def summary(run, cells, drawn, folder):
    """Of messages of 64 bytes; only placements under which ivmq was measured."""
    placements = [p for p in cells.seen() if cells.get(f"path/message/ivmq/{SIZE}", p)]
    if not placements:
        return ""
    shows = (("message", rate), ("round_trip", time_text), ("at_rate", time_text))

    def figure(kind, show, contender, placement):
        median = cells.median(f"path/{kind}/{contender}/{SIZE}", placement)
        return "–" if median is None else show(median)

    rows = [[contender] + [figure(kind, show, contender, p) for kind, show in shows for p in placements]
            for contender in contenders_of(cells, "path/message/", "path/round_trip/", "path/at_rate/")
            if not contender.startswith(("typed", "ring"))]
    names = {"message": "messages", "round_trip": "round trip",
             "at_rate": f"round trip, {cells.rate('path/at_rate/'):,} a second"}
    head = [f"{SIZE} B"] + [f"{names[kind]}, {p}" for kind, _ in shows for p in placements]
    text = table(head, rows)
    for placement in placements:
        if f"path_throughput_{placement}" in drawn:
            text += f"\n![throughput of the SDK, {placement} cores]({folder}/{drawn[f'path_throughput_{placement}']})\n"
            break
    machine = run["machine"]
    return (f"{text}\nMedians on {machine['processor']}, {machine['kernel']}, between two processes on the host: *near*, "
            "their cores share a cache, *far*, they do not. `ivmq` spins and sends in batches of 32, `ivmq_each` spins, "
            "`ivmq_batched` and `tcp_batched` flush and write 64 KiB at once, iceoryx and those called `_spin` spin, all "
            "other rivals sleep, "
            "`ivmq_adaptive` is how nodes wait unless told otherwise: who has waited for some 50 µs sleeps, and is "
            f"then woken as `ivmq_block`.{between_guests(cells)} All figures, and what was compared with what: "
            f"[{folder}/performance.md]({folder}/performance.md)\n")


def between_guests(cells):
    ours = [cells.median(f"guest/message/{how}/{SIZE}") for how in ("ivmq_each", "ivmq_batched")]
    tcp = [cells.median(f"guest/message/{how}/{SIZE}") for how in ("tcp", "tcp_batched")]
    trips = [cells.median(f"guest/round_trip/{who}/{SIZE}") for who in ("ivmq_adaptive", "tcp")]
    if None in ours + tcp + trips:
        return ""
    return (f" Between two emulated guests of one CPU each: {rate(ours[0])} messages sent one by one, {rate(ours[1])} "
            f"64 KiB a flush, {time_text(trips[0])} a round trip; TCP over virtio-net between the same two {rate(tcp[0])}, "
            f"{rate(tcp[1])} and {time_text(trips[1])}.")


def put_into(readme, text):
    """Replaces what stands between the two marks."""
    with open(readme, encoding="utf-8") as lines:
        whole = lines.read()
    before, _, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{readme} has not the marks {BEGIN.strip()} and {END}")
    with open(readme, "w", encoding="utf-8") as out:
        out.write(before + BEGIN + text + END + after)
