"""Plots as SVG, by gnuplot."""

import os
import subprocess

from tables import contenders_of

HEAD = """set terminal svg size 720,400 font "sans-serif,12" background "white"
set output "{path}"
set grid ytics lc rgb "#dddddd"
set key outside right top
set border 3
set tics nomirror
set title "{title}"
set xlabel "{x}"
set ylabel "{y}"
"""


def run_gnuplot(script):
    subprocess.run(["gnuplot", "-"], input=script, text=True, check=True)


def quoted(text):
    return '"' + text.replace('"', "").replace("_", " ") + '"'


def lines(path, title, x, y, series, more=""):
    """`series`: name -> list of (x, y). Returns whether there was anything to draw."""
    series = {name: points for name, points in series.items() if points}
    if len({x for points in series.values() for x, _ in points}) < 2:  # no line
        return False
    script = HEAD.format(path=path, title=title, x=x, y=y) + more
    for i, points in enumerate(series.values()):
        script += f"$data{i} << END\n" + "".join(f"{a} {b}\n" for a, b in points) + "END\n"
    script += "plot " + ", ".join(f"$data{i} with linespoints lw 2 pt 7 ps 0.5 title {quoted(name)}"
                                  for i, name in enumerate(series)) + "\n"
    run_gnuplot(script)
    return True


def rates_by_size(cells, prefix, contenders, placement):
    """Messages a second, millions."""
    series = {}
    for contender in contenders:
        points = []
        for size in sorted(int(size) for size in cells.names(f"{prefix}{contender}/")):
            cell = cells.get(f"{prefix}{contender}/{size}", placement)
            if cell is not None:
                points.append((size, 1e3 / cell.median))
        series[contender] = points
    return series


def cumulative(cell):
    """Points of 1/(1-share) and microseconds."""
    total, seen, points = sum(cell.histogram.values()), 0, []
    for bucket in sorted(cell.histogram):
        seen += cell.histogram[bucket]
        if seen < total:
            points.append((total / (total - seen), bucket / 1e3))
    return points


def draw(cells, folder):
    """All plots that there are samples for; the paths of those drawn, by name."""
    os.makedirs(folder, exist_ok=True)
    drawn = {}

    def keep(name, title, x, y, series, more):
        path = os.path.join(folder, name + ".svg")
        if lines(path, title, x, y, series, more):
            drawn[name] = os.path.basename(folder) + "/" + name + ".svg"

    for placement in cells.seen():
        for group, title in (("ring", "The ring"), ("path", "The SDK")):
            prefix = f"{group}/message/"
            contenders = [c for c in contenders_of(cells, prefix) if not c.startswith("typed")]
            keep(f"{group}_throughput_{placement}", f"{title} beside its rivals, {placement} cores",
                 "bytes a message", "million messages a second",
                 rates_by_size(cells, prefix, contenders, placement),
                 "set logscale xy\nset format y '%g'\n")
        trips = {}
        for contender in contenders_of(cells, "path/at_rate/"):
            cell = cells.get(f"path/at_rate/{contender}/64", placement)
            trips[contender] = cumulative(cell) if cell else []
        keep(f"latency_{placement}", f"Round trips of 64 B, {cells.rate('path/at_rate/'):,} a second, {placement} cores", "percentile",
             "microseconds after it was due", trips,
             "set logscale xy\nset format y '%g'\n"
             "set xtics ('p50' 2, 'p90' 10, 'p99' 100, 'p99.9' 1000, 'p99.99' 10000)\n")
        links = {kind: [(int(n), 1e3 / cells.median(f"scale/{kind}/{n}", placement))
                        for n in sorted(cells.names(f"scale/{kind}/"), key=int)
                        if cells.median(f"scale/{kind}/{n}", placement)] for kind in ("one_busy", "all_busy", "all_busy_4k")}
        keep(f"links_{placement}", f"Links of one subscriber, {placement} cores", "links",
             "million messages a second", links, "set logscale x\nset yrange [0:*]\n")
    return drawn
