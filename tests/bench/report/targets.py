"""What is asked of ivmq, and whether the run met it."""

BATCHED_TCP = "tcp, 64 KiB a write,"
RING_SIZES = (8, 64, 256, 1024, 4096, 16384, 65536)
# As they come and in batches, as the ring; each has to be measured, or else nobody is the best.
RING_RIVALS = ("boost_spsc", "boost_spsc_batch32", "moodycamel")
# In each cell the way counts that is quickest there, once all are measured.
PATH_RIVALS = {
    "iceoryx": ("iceoryx",),
    "zeromq": ("zeromq",),
    "nng": ("nng", "nng_buffered"),
    "seqpacket": ("seqpacket", "seqpacket_spin"),
    BATCHED_TCP: ("tcp_batched",),
    "tcp, 32 messages a write,": ("tcp", "tcp_spin"),
    "grpc": ("grpc",),
}
SLEEPING_RIVALS = ("zeromq", "nng", "seqpacket", "tcp", "grpc")
COPY_LIMIT_SHARES = {64: 0.6, 256: 0.8, 1024: 0.8, 4096: 0.95, 16384: 0.95, 65536: 0.95}
KINDS = {"message": "throughput", "round_trip": "round trip", "at_rate": "median at a fixed rate",
         "request": "request", "fan_out": "fan-out"}
# Which of ivmq's ways is set beside them where several share a core; else the one that spins. Beside
# who sends 64 KiB at once, the one that does as well.
OURS = {"fan_out": "ivmq_adaptive_batch32"}
OURS_BESIDE = {BATCHED_TCP: "ivmq_batched"}
# Of those that do not take part in all but requests.
KINDS_OF = {"grpc": tuple(KINDS), BATCHED_TCP: ("message", "fan_out")}
# Of the ways that do not take part in all.
KINDS_OF_WAY = {"seqpacket_spin": ("round_trip", "at_rate"), "tcp_spin": ("round_trip", "at_rate"),
                "nng_buffered": ("message", "fan_out")}


class Target:
    """One line of the table. `figure` is None where it is not measured."""

    def __init__(self, what, placement, wanted, figure, met, text=None):
        self.what = what
        self.placement = "" if placement == "any" else placement
        self.wanted = wanted
        self.text = "not measured" if figure is None else text or figure_text(figure)
        self.verdict = "not measured" if figure is None else "met" if met else "not met"


def figure_text(figure):
    return f"{figure:.3g}" if figure < 1000 else f"{figure:,.0f}"


def at_most(what, placement, limit, figure, unit=""):
    return Target(what, placement, f"≤ {limit}{unit}", figure, figure is not None and figure <= limit,
                  None if figure is None else figure_text(figure) + unit)


def at_least(what, placement, limit, figure, unit=""):
    return Target(what, placement, f"≥ {limit}{unit}", figure, figure is not None and figure >= limit,
                  None if figure is None else figure_text(figure) + unit)


def best_rival(cells, prefix, rivals, size, placement):
    """The quickest rival's name and time; None where one of them is not measured."""
    times = {rival: cells.median(f"{prefix}/{rival}/{size}", placement) for rival in rivals}
    return None if None in times.values() else min(times.items(), key=lambda item: item[1])


def ring_targets(cells, placement):
    trip = cells.get("ring/round_trip/ring/64", placement)
    yield at_most("ring round trip, 64 B, in cache-line round trips", placement, 1.1,
                  trip and trip.times_line(), " ×")
    for size in RING_SIZES:
        ring = cells.median(f"ring/message/ring_batch32/{size}", placement)
        rival = best_rival(cells, "ring/message", RING_RIVALS, size, placement)
        ratio = rival[1] / ring if ring and rival else None
        limit = 2 if size == 64 else 1
        yield at_least(f"ring throughput in batches, {size} B, over the best rival's", placement, limit, ratio, " ×")
    for size, share in COPY_LIMIT_SHARES.items():
        yield at_least(f"ring throughput in batches, {size} B, over the copy limit", placement, share,
                       cells.ratio(f"ring/message/copy_limit/{size}",
                                   f"ring/message/ring_batch32/{size}", placement), " ×")


def sdk_targets(cells, placement):
    yield at_most("SDK round trip, 64 B, over the bare ring's", placement, 1.3,
                  cells.ratio("path/round_trip/ivmq/64", "path/round_trip/ring/64", placement), " ×")
    yield at_least("SDK throughput, 64 B in batches, over the bare ring's", placement, 0.6,
                   cells.ratio("path/message/ring/64", "path/message/ivmq/64", placement), " ×")
    yield at_least("SDK throughput, 64 B with a flush each, over the bare ring's", placement, 0.45,
                   cells.ratio("path/message/ring_each/64", "path/message/ivmq_each/64", placement), " ×")
    protobuf = cells.median("path/serialise_and_parse/protobuf/64", placement)
    for kind, bytes_name, typed_name, times in (
            ("round trip", "round_trip/ivmq", "round_trip/typed", 2),
            ("message with a flush each", "message/ivmq_each", "message/typed_each", 1)):
        plain = cells.median(f"path/{bytes_name}/64", placement)
        typed = cells.median(f"path/{typed_name}/64", placement)
        known = None not in (plain, typed, protobuf)
        yield at_most(f"SDK typed, 64 B: what a {kind} adds, over protobuf alone", placement, 1.1,
                      (typed - plain) / (times * protobuf) if known else None, " ×")


def rival_targets(cells, placement):
    """One line a rival: all cells that ivmq was measured in, and the one in which the rival comes closest."""
    for rival, ways in PATH_RIVALS.items():
        worst, won, total = None, 0, 0
        for kind in KINDS_OF.get(rival, [kind for kind in KINDS if kind != "request"]):
            ours = OURS_BESIDE.get(rival, OURS.get(kind, "ivmq"))
            for name in cells.names(f"path/{kind}/{ours}/"):
                total += 1
                times = [cells.median(f"path/{kind}/{way}/{name}", placement) for way in ways
                         if kind in KINDS_OF_WAY.get(way, KINDS)]
                own = cells.median(f"path/{kind}/{ours}/{name}", placement)
                if not times or None in times or own is None:
                    continue
                ratio = min(times) / own
                won += ratio > 1
                if worst is None or ratio < worst[0]:
                    worst = (ratio, f"{KINDS[kind]} to {name}" if kind == "fan_out" else f"{KINDS[kind]}, {name} B")
        yield Target(f"faster than {rival} in every cell", placement, "every cell",
                     worst and worst[0], won == total,
                     worst and f"{won} of {total}, at least {worst[0]:.3g} × ({worst[1]})")
    sizes = cells.names("path/round_trip/ivmq_block/")
    ratios = [(cells.ratio(f"path/round_trip/{rival}/{size}", f"path/round_trip/ivmq_block/{size}", placement),
               f"{rival}, {size} B") for rival in SLEEPING_RIVALS for size in sizes]
    known = [ratio for ratio in ratios if ratio[0] is not None]
    won = sum(ratio > 1 for ratio, _ in known)
    yield Target("blocking, round trips faster than of each that blocks", placement, "every cell",
                 min(known)[0] if known else None, won == len(ratios),
                 f"{won} of {len(ratios)}, at least {min(known)[0]:.3g} × ({min(known)[1]})" if known else None)
    yield at_least("throughput, 64 B, over iceoryx's", placement, 10,
                   cells.ratio("path/message/iceoryx/64", "path/message/ivmq/64", placement), " ×")


def placed_targets(cells, placement):
    yield from ring_targets(cells, placement)
    yield from sdk_targets(cells, placement)
    yield from rival_targets(cells, placement)
    yield at_most("blocking wake-up, one way p50, over a bare eventfd's", placement, 1.15,
                  cells.ratio("limits/wake/ivmq_block/8", "limits/wake/eventfd/8", placement), " ×")
    for kind, limit in (("one_busy", 0.85), ("all_busy", 0.35)):
        what = "1,000 links, one busy" if kind == "one_busy" else "1,000 links, all busy"
        yield at_least(f"{what}, throughput over that of one link alone", placement, limit,
                       cells.ratio("scale/one_busy/1", f"scale/{kind}/1000", placement), " ×")


def other_targets(cells):
    figure = cells.median
    yield at_most("doorbells per 1,000 messages at saturation", "any", 1,
                  figure("doorbells/saturation/per_1000_messages"))
    yield at_most("doorbells a sleep at 100,000 messages a second", "any", 1,
                  figure("doorbells/at_100000/per_sleep"))
    for who, name in (("node", "an idle node"), ("keeper", "the idle broker's ivmqd"),
                      ("control", "the idle broker's ivmqd-control")):
        yield at_most(f"wake-ups of {name}, all threads", "any", 2, figure(f"cost/wake_ups/{who}"), " a second")
    yield at_most("link set-up, p50", "any", 2, figure("scale/set_up/p50_ms"), " ms")
    yield at_most("1,000 CreateSubscriber in flight together", "any", 1000,
                  figure("scale/set_up/1000_together_ms"), " ms")
    yield at_most("memory of control, a node", "any", 64, figure("cost/control/kib_a_node"), " KiB")
    yield at_most("CPU time of control while nothing changes", "any", 1, figure("cost/control/idle_cpu_ms"),
                  " ms a second")
    yield at_most("memory of keeper, a peer, beyond eventfds", "any", 16, figure("cost/keeper/kib_a_peer"), " KiB")
    yield at_most("a node: start to first message", "any", 15, figure("cost/node/first_message_ms"), " ms")
    yield at_most("a node: resident beyond the region", "any", 6, figure("cost/node/resident_mb"), " MB")
    yield at_most("a node: threads", "any", 2, figure("cost/node/threads"))
    for tcp, ivmq, how in (("tcp", "ivmq_each", "each by itself"),
                           ("tcp_batched", "ivmq_batched", "64 KiB a flush or write")):
        yield at_least(f"guest to guest: messages a second, 64 B, {how}, over TCP's over virtio-net", "any", 10,
                       cells.ratio(f"guest/message/{tcp}/64", f"guest/message/{ivmq}/64"), " ×")
    yield at_most("guest to guest: round trip, 64 B, over TCP's over virtio-net", "any", 0.5,
                  cells.ratio("guest/round_trip/ivmq_adaptive/64", "guest/round_trip/tcp/64"), " ×")


def all_targets(cells):
    by_placement = [list(placed_targets(cells, placement)) for placement in cells.seen()]
    for together in zip(*by_placement):
        yield from together
    yield from other_targets(cells)
