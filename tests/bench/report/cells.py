"""The samples of a run, by what was measured and by the placement of the cores."""

import json

MIN_SAMPLES = 5  # a cell with fewer is not measured
PLACEMENTS = ("near", "far")


def quantile(values, share):
    """The value that this share of them does not exceed, between two of them where it falls there."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class Cell:
    """All samples of one thing under one placement."""

    def __init__(self):
        self.values = []
        self.lines = []  # cache-line round trips around them, ns
        self.histogram = {}  # of single times: lower end of a bucket in ns -> count
        self.longest = 0
        self.rate = 0  # a second, where it was fixed
        self.unit = "ns"

    def add(self, sample):
        self.values.append(sample.get("ns", sample.get("value")))
        self.unit = sample.get("unit", "ns")
        if "line_ns" in sample:
            self.lines.append(sample["line_ns"])
        for bucket, count in sample.get("histogram", {}).items():
            self.histogram[int(bucket)] = self.histogram.get(int(bucket), 0) + count
        self.rate = sample.get("rate", self.rate)
        self.longest = max(self.longest, sample.get("max_ns", 0))

    @property
    def measured(self):
        return len(self.values) >= MIN_SAMPLES

    @property
    def median(self):
        return quantile(self.values, 0.5)

    @property
    def spread(self):
        """First and third quartile."""
        return quantile(self.values, 0.25), quantile(self.values, 0.75)

    def times_line(self):
        """Median of what each sample is in cache-line round trips."""
        return quantile([v / line for v, line in zip(self.values, self.lines)], 0.5)

    def percentile(self, share):
        """Of the single times of all samples together; None where too few lie beyond it."""
        total = sum(self.histogram.values())
        if total * (1 - share) < 1:
            return None
        seen = 0
        for bucket in sorted(self.histogram):
            seen += self.histogram[bucket]
            if seen >= share * total:
                return min(bucket + max((1 << (bucket.bit_length() - 1)) // 32, 1), self.longest)
        return None


class Cells:
    def __init__(self, samples):
        self._cells = {}
        for sample in samples:
            key = (sample["group"] + "/" + sample["name"], sample.get("placement", "any"))
            self._cells.setdefault(key, Cell()).add(sample)

    def get(self, name, placement="any"):
        """The cell if it is measured, else None."""
        cell = self._cells.get((name, placement))
        return cell if cell is not None and cell.measured else None

    def median(self, name, placement="any"):
        cell = self.get(name, placement)
        return None if cell is None else cell.median

    def ratio(self, name, of, placement="any"):
        """Median of `name` over that of `of`; None where one is not measured."""
        above, below = self.median(name, placement), self.median(of, placement)
        return None if above is None or not below else above / below

    def names(self, prefix):
        """All that was sampled below it, without it, measured or not."""
        found = {name[len(prefix):] for name, _ in self._cells if name.startswith(prefix)}
        return sorted(found)

    def rate(self, prefix):
        """At which everything below it was measured."""
        return max((cell.rate for (name, _), cell in self._cells.items() if name.startswith(prefix)), default=0)

    def seen(self):
        """The placements of which there are samples; both where there are none."""
        placements = self.placements()
        return [p for p in PLACEMENTS if p in placements] or list(PLACEMENTS)

    def placements(self):
        """Of all samples: how many, and the cache-line round trips around them."""
        lines = {}
        for (_, placement), cell in self._cells.items():
            if cell.lines:
                lines.setdefault(placement, []).extend(cell.lines)
        return lines


def load(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
