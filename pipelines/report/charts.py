"""The geometry of the page's charts; charts.html draws it.

x is in percent of the chart's width and y in pixels, so that a chart fills a phone and a desk with letters of one size. Lines are
in a box of 1,000 x 1,000 that is stretched. No text enters here but numbers and labels, which the template escapes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEIGHT: Final = 180.0  # of the plot, without the labels of the x axis
BOX: Final = 1000.0
MAX_POINTS: Final = 500
HEADROOM: Final = 1.12  # above the highest bar, for the labels of marks
FEW_BINS: Final = 4  # a chart with fewer gets empty ones at its sides


@dataclass(frozen=True)
class Bar:
    x: float
    width: float
    y: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True)
class Tick:
    at: float  # percent along x, pixels along y
    label: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Histogram:
    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Tick]
    label: str  # what a screen reader says
    height: float = HEIGHT


@dataclass(frozen=True)
class Line:
    points: str  # of an SVG polyline in the box
    tone: str


@dataclass(frozen=True)
class LineChart:
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    label: str
    height: float = HEIGHT


@dataclass(frozen=True)
class Segment:
    """A piece of a bar that lies along x."""

    x: float
    width: float
    tone: str
    title: str


def anchored(at: float, label: str) -> Tick:
    """A tick whose label does not stick out of the chart."""
    return Tick(round(at, 2), label, "start" if at < 4 else "end" if at > 96 else "middle")


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """About `wanted` round numbers in [low, high]."""
    if high <= low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def short_number(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    if value >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def log_edges(highest: int) -> list[int]:
    """Bin edges of whole numbers from 1, ten a decade (Renard R10) where whole numbers allow it, the last above `highest`."""
    edges = [1]
    power = 0
    while edges[-1] <= highest:
        for step in (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8):
            edge = round(step * 10**power)
            if edge > edges[-1] and edges[-1] <= highest:
                edges.append(edge)
        power += 1
    return edges


def histogram(
    edges: Sequence[float],
    counts: Sequence[int],
    *,
    label: str,
    unit: str,
    logarithmic: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    muted_below: float | None = None,
) -> Histogram:
    """Bars over bins [edges[i], edges[i + 1]), cut to the bins that hold something.

    Args:
        marks: (value, label) of vertical lines; lines outside the bars widen the axis to hold them where it is linear.
        muted_below: bins below this value are drawn as dropped ones.
    """
    filled = [n for n, rows in enumerate(counts) if rows]
    if not filled:
        return Histogram([], [], [], [], label)
    first, last = filled[0], filled[-1] + 1
    if not logarithmic:
        for value, _ in marks:
            while first > 0 and edges[first] > value:
                first -= 1
            while last < len(counts) and edges[last] < value:
                last += 1
    if last - first < FEW_BINS:
        first, last = max(0, first - FEW_BINS), min(len(counts), last + FEW_BINS)
    low, high = edges[first], edges[last]

    def place(value: float) -> float:
        if logarithmic:
            return 100 * math.log(value / low) / math.log(high / low)
        return 100 * (value - low) / (high - low)

    highest = max(counts[first:last]) * HEADROOM
    bars = []
    for n in range(first, last):
        if counts[n]:
            left, right = place(edges[n]), place(edges[n + 1])
            tall = max(1.0, HEIGHT * counts[n] / highest)
            tone = "dropped" if muted_below is not None and edges[n + 1] <= muted_below + 1e-9 else "kept"
            bars.append(
                Bar(
                    round(left, 3),
                    round((right - left) * 0.9, 3),
                    round(HEIGHT - tall, 1),
                    round(tall, 1),
                    tone,
                    f"{_bin_name(edges[n], edges[n + 1], logarithmic)} {unit}: {counts[n]:,}",
                )
            )
    x_values = _log_ticks(low, high) if logarithmic else nice_ticks(low, high, 6)
    return Histogram(
        bars,
        [anchored(place(value), short_number(value)) for value in x_values or [low, high]],
        [
            Tick(round(HEIGHT - HEIGHT * value / highest, 1), short_number(value))
            for value in nice_ticks(0, highest, 3)
            if 0 < value < 0.93 * highest and value == round(value)
        ],
        [anchored(place(value), words) for value, words in marks if low <= value <= high],
        label,
    )


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in [low, high]; where those are few, 2 and 5 times them too."""
    powers = [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    tens = [value for value in powers if low <= value <= high]
    return tens if len(tens) >= 3 else [step * p for p in powers for step in (1, 2, 5) if low <= step * p <= high]


def _bin_name(low: float, high: float, whole: bool) -> str:
    if not whole:
        return f"{low:g} to {high:g}"
    return f"{low:,.0f}" if high == low + 1 else f"{low:,.0f} to {high - 1:,.0f}"


def line_chart(
    steps: Sequence[float], series: Sequence[tuple[Sequence[float], str]], *, label: str, digits: int | None = None
) -> LineChart:
    """Lines over common steps, one for each (values, tone); `digits` in exponent form where given."""
    values = [value for line, _ in series for value in line]
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = low - pad if low < 0 or low > pad else 0.0, high + pad
    first, last = steps[0], steps[-1]
    width = (last - first) or 1.0

    def points(line: Sequence[float]) -> str:
        xy = _thinned(
            [((s - first) / width * BOX, (high - v) / (high - low) * BOX) for s, v in zip(steps, line, strict=True)]
        )
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in xy)

    form = "{:g}" if digits is None else f"{{:.{digits}e}}"
    return LineChart(
        [Line(points(line), tone) for line, tone in series],
        [anchored(100 * (value - first) / width, short_number(value)) for value in nice_ticks(first, last, 5)],
        [
            Tick(round(HEIGHT * (high - v) / (high - low), 1), form.format(v))
            for v in nice_ticks(low, high, 4)
            if v > low
        ],
        label,
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about MAX_POINTS points: of each stretch the lowest and the highest, so that peaks stay."""
    if len(points) <= MAX_POINTS:
        return points
    stretch = math.ceil(2 * len(points) / MAX_POINTS)
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept


def segments(parts: Sequence[tuple[float, str, str]], whole: float) -> list[Segment]:
    """(rows, tone, title) side by side, as shares of `whole`."""
    placed, x = [], 0.0
    for rows, tone, title in parts:
        if rows:
            width = 100 * rows / whole
            placed.append(Segment(round(x, 3), round(width, 3), tone, title))
            x += width
    return placed
