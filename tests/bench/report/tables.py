"""Tables of figures in Markdown."""

NOT_MEASURED = "–"


def table(head, rows):
    """The first column is text, the others are figures."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def time_text(nanoseconds):
    for unit, length in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= length:
            return f"{number(nanoseconds / length)} {unit}"
    return f"{number(nanoseconds)} ns"


def with_spread(cell, convert=time_text):
    """Median and quartiles."""
    if cell is None:
        return NOT_MEASURED
    low, high = cell.spread
    return f"{convert(cell.median)} ({convert(low)} – {convert(high)})"


def rate(nanoseconds):
    """Of messages that took so long each."""
    each_second = 1e9 / nanoseconds
    for unit, size in (("M/s", 1e6), ("k/s", 1e3)):
        if each_second >= size:
            return f"{number(each_second / size)} {unit}"
    return f"{number(each_second)} /s"


def rate_cell(cell):
    if cell is None:
        return NOT_MEASURED
    low, high = cell.spread
    return f"{rate(cell.median)} ({rate(high)} – {rate(low)})"


def sizes_text(size):
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def by_size(cells, prefix, contenders, show, placements=None):
    """For each placement a table of contenders by size; `prefix` ends with a slash."""
    parts = []
    for placement in placements or cells.seen():
        title = "" if placement == "any" else placement.capitalize()
        measured = [c for c in contenders if any(
            cells.get(prefix + c + "/" + size, placement) for size in cells.names(prefix + c + "/"))]
        if not measured:
            parts.append(f"{title}: not measured.\n" if title else "Not measured.\n")
            continue
        sizes = sorted({int(size) for c in measured for size in cells.names(prefix + c + "/")})
        rows = [[c] + [show(cells.get(f"{prefix}{c}/{size}", placement)) for size in sizes] for c in measured]
        parts.append(table([title] + [sizes_text(size) for size in sizes], rows))
    return "\n".join(parts)


def contenders_of(cells, *prefixes):
    return sorted({name.split("/")[0] for prefix in prefixes for name in cells.names(prefix)},
                  key=lambda name: (not name.startswith(("ring", "ivmq", "copy")), name))


def percentiles(cells, contenders, size):
    """Of round trips at a fixed rate, all samples together."""
    shares = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999))
    parts = []
    for placement in cells.seen():
        rows = []
        for contender in contenders:
            cell = cells.get(f"path/at_rate/{contender}/{size}", placement)
            if cell is None:
                continue
            row = [cell.percentile(share) for _, share in shares] + [cell.longest]
            rows.append([contender, f"{sum(cell.histogram.values()):,}"] +
                        [NOT_MEASURED if time is None else time_text(time) for time in row])
        if rows:
            head = [placement.capitalize(), "round trips"] + [name for name, _ in shares] + ["max"]
            parts.append(table(head, rows))
        else:
            parts.append(f"{placement.capitalize()}: not measured.\n")
    return "\n".join(parts)


def figures(cells, prefix, begin=""):
    """All figures without a placement below `prefix`, with their units; each named with `begin`."""
    names = cells.names(prefix)
    if all(name.isdigit() for name in names):
        names = sorted(names, key=int)
    rows = []
    for name in names:
        cell = cells.get(prefix + name)
        if cell is not None:
            low, high = cell.spread
            text = f"{int(name):,}" if name.isdigit() else name.replace("/", ", ").replace("_", " ")
            rows.append([begin + text, f"{number(cell.median)} {cell.unit}", f"{number(low)} – {number(high)}",
                         str(len(cell.values))])
    return table(["", "median", "quartiles", "samples"], rows) if rows else "Not measured.\n"
