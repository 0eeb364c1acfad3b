"""Charts as inline SVG: they take the colors and letters of the page, so that they read in dark and in light.

Series are told apart by a class of the style sheet (`clean`, `adversarial`, `plain`), never by a style attribute,
which the page's content security policy does not allow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 48
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A line: its class in the style sheet, its name in the legend, its points. steps: drawn as stairs."""

    kind: str
    name: str
    points: Points
    steps: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: its label, and its range (None: that of the data, from 0)."""

    label: str
    low: float = 0.0
    high: float | None = None
    whole: bool = False


class Chart(Markup):
    """A chart as SVG, with its numbers: a head and rows, which the page offers as CSV."""

    numbers: list[list[Any]]

    @classmethod
    def of(cls, svg: Markup, numbers: Sequence[Sequence[Any]]) -> Self:
        """Make a chart of its drawing and its numbers, of which the first row is the head."""
        chart = cls(svg)
        chart.numbers = [[_rounded(cell) for cell in row] for row in numbers]
        return chart


@dataclass(frozen=True)
class Plot:
    """A chart of the page: title, SVG, and what it shows in a sentence.

    - legend: as (class, name)
    - links: to other pages, as (URL, name)
    """

    title: str
    svg: Chart
    caption: str
    legend: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Curve:
    """A curve of true steps against the size of a change, which can be drawn beside those of other runs.

    - caption: what it shows, of whatever run
    - scored_at: the steps of this run's that were scored; empty: they need no word
    """

    title: str
    x: Axis
    y: Axis
    points: Points
    caption: str
    scored_at: str = ""

    def plot(self, name: str) -> Plot:
        """Draw it alone. name: of the line."""
        line = Series("adversarial", name, self.points, steps=True)
        caption = f"{self.caption} Scored at {self.scored_at}." if self.scored_at else self.caption
        return Plot(self.title, line_chart([line], self.x, self.y), caption)


def line_chart(series: Sequence[Series], x: Axis, y: Axis, marker: tuple[float, str] | None = None) -> Chart:
    """Draw lines over two axes. marker: an x (a τ) that is marked, and its name."""
    points = [p for s in series for p in s.points]
    frame = _Frame(x, y, [p[0] for p in points], [p[1] for p in points])
    parts = [frame.axes()]
    if marker:
        at = frame.x(marker[0])
        left = at > WIDTH * 0.7
        parts.append(_tag("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="marker"))
        parts.append(_text(at + (-5 if left else 5), TOP + 14, marker[1], "note", "end" if left else "start"))
    for one in series:
        parts += _line(frame, one)
    rows = [(one.name, *point) for one in series for point in one.points]
    return _svg(parts, f"{y.label} against {x.label}", [("series", x.label, y.label), *rows])


def histogram(values: Sequence[float], x: Axis, y: Axis, bins: int = 24) -> Chart:
    """Draw how many of the values fall where; whole numbers get bins of whole width."""
    low, high = (math.floor(min(values)), max(values) + 1) if x.whole else (min(values), max(values))
    width = max(1, math.ceil((high - low) / bins)) if x.whole else ((high - low) / bins or 1)
    count = max(1, math.ceil((high - low) / width - 1e-9))
    heights = [0] * count
    for value in values:
        heights[min(int((value - low) / width), count - 1)] += 1
    least, shift = (low, 0.5 if width == 1 else 0.0) if x.whole else (low, 0.0)
    axis = Axis(x.label, least - shift, least + count * width - shift, x.whole)
    frame = _Frame(axis, Axis(y.label, 0, max(heights), True), [], [])
    parts = [frame.axes()]
    rows = []
    for i, number in enumerate(heights):
        left, right = frame.x(axis.low + i * width), frame.x(axis.low + (i + 1) * width)
        first = low + i * width
        name = f"{first:g}" if x.whole and width == 1 else f"{first:.4g} to {first + width - (1 if x.whole else 0):.4g}"
        rows.append((first, first + width, number))
        gap = min(1.5, (right - left) / 6)
        top = frame.y(number)
        bar = {"x": left + gap, "y": top, "width": right - left - 2 * gap, "height": HEIGHT - BOTTOM - top, "rx": 1.5}
        if number:
            parts.append(_tag("rect", _title(f"{name}: {number}"), class_="bar plain", **bar))
    return _svg(parts, f"histogram of {x.label}", [(f"{x.label}: from", "below", y.label), *rows])


def bars(rows: Sequence[tuple[str, float | None, float | None]], top: float | None = None, form: str = "g") -> Chart:
    """Draw a pair of horizontal bars for each class, clean over adversarial, with their numbers.

    - rows: name, clean and adversarial number; None draws no bar.
    - top: the end of the scale; None: the largest number.
    - form: the format of the numbers.
    """
    longest = top or max((v for row in rows for v in row[1:] if v is not None), default=1) or 1
    pitch, step, left = 39, 15, 132
    room = WIDTH - left - 52
    parts = []
    for i, (name, *pair) in enumerate(rows):
        y = 8 + i * pitch
        parts.append(_text(left - 10, y + 18, _short(name, 17), "label", "end", _title(name)))
        for j, (kind, value) in enumerate(zip(("clean", "adversarial"), pair, strict=True)):
            if value is None:
                continue
            length = max(1.5, room * value / longest)
            top_edge = y + j * step
            parts.append(_tag("rect", x=left, y=top_edge, width=length, height=12, rx=1.5, class_=f"bar {kind}"))
            parts.append(_text(left + length + 6, top_edge + 10.5, format(value, form), "tick", "start"))
    numbers = [("name", "clean", "adversarial"), *rows]
    return _svg(parts, "bars by class, clean and adversarial", numbers, 16 + len(rows) * pitch)


def matrix(rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> Chart:
    """Draw a table of counts, each cell the stronger the larger its share of the row; the diagonal in another color.

    rows, columns: names; counts: a row of numbers for each of `rows`.
    """
    left, top, high = 132, 96, 28
    wide = (WIDTH - left) / max(1, len(columns))
    parts = []
    for j, name in enumerate(columns):
        x = left + (j + 0.5) * wide + 4
        turned = f"rotate(-90 {x:.1f} {top - 8})"
        parts.append(_tag("text", _title(name) + escape(_short(name, 13)), x=x, y=top - 8, transform=turned))
    for i, (name, cells) in enumerate(zip(rows, counts, strict=True)):
        y = top + i * high
        parts.append(_text(left - 10, y + high / 2 + 5, _short(name, 17), "label", "end", _title(name)))
        for j, count in enumerate(cells):
            place = {"x": left + j * wide + 1, "y": y + 1, "width": wide - 2, "height": high - 2, "rx": 2}
            parts.append(_tag("rect", "", class_="box", **place))
            if count:
                said = _title(f"{name} → {columns[j]}: {count}")
                shade = {
                    "class_": "heat same" if i == j else "heat other",
                    "fill-opacity": 0.1 + 0.5 * count / sum(cells),
                }
                parts.append(_tag("rect", said, **place, **shade))
                parts.append(_text(left + (j + 0.5) * wide, y + high / 2 + 4.5, f"{count:,}", "amount", "middle"))
    numbers = [("", *columns), *((name, *cells) for name, cells in zip(rows, counts, strict=True))]
    return _svg(parts, "table of counts", numbers, top + len(rows) * high + 4)


def traces(lines: Sequence[tuple[Sequence[float], int]], tau: float | None = None, mark: str = "K") -> Chart:
    """Draw confidence against iteration, a line an image, with K marked (−1: never), and τ, if given, as a line.

    mark: what K is called.
    """
    longest = max(len(values) for values, _ in lines) - 1
    frame = _Frame(Axis("iteration", 0, max(longest, 1), True), Axis("confidence", 0, 1), [], [])
    faint = "trace faint" if len(lines) > 12 else "trace"
    parts = [frame.axes()]
    if tau is not None:
        parts.append(_tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=frame.y(tau), y2=frame.y(tau), class_="marker"))
    for values, k in lines:
        kind = faint if k >= 0 else f"{faint} failed"
        parts.append(_tag("path", d=_path([(frame.x(i), frame.y(v)) for i, v in enumerate(values)]), class_=kind))
    for values, k in lines:
        if 0 <= k < len(values):
            dot = _title(f"{mark} = {k}, confidence {values[k]:.3f}")
            parts.append(_tag("circle", dot, cx=frame.x(k), cy=frame.y(values[k]), r=2.6, class_="dot"))
    if tau is not None:  # over the lines, to be read
        parts.append(_text(WIDTH - RIGHT - 2, frame.y(tau) - 6, f"τ = {tau:g}", "note", "end"))
    rows = [(number, i, value) for number, (values, _) in enumerate(lines, 1) for i, value in enumerate(values)]
    return _svg(parts, f"confidence against iteration, {mark} marked", [("line", "iteration", "confidence"), *rows])


def ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """Choose round numbers from low to high, about `count` of them."""
    step = 10 ** math.floor(math.log10((high - low) / count)) if high > low else 1.0
    step *= next(f for f in (1, 2, 2.5, 5, 10) if f * step * count >= (high - low) * 0.999)
    step = max(1.0, math.ceil(step)) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class _Frame:
    """The place of a number on the page."""

    def __init__(self, x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float]) -> None:
        self._x, self._y = x, y
        self._right = _end(x, xs)
        self._top = _end(y, ys)

    def x(self, value: float) -> float:
        share = (value - self._x.low) / (self._right - self._x.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self._y.low) / (self._top - self._y.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> Markup:
        parts = []
        for value in ticks(self._y.low, self._top, 4, self._y.whole):
            y = self.y(value)
            parts.append(_tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(_text(LEFT - 7, y + 4.5, f"{value:g}", "tick", "end"))
        for value in ticks(self._x.low, self._right, 6, self._x.whole):
            parts.append(_text(self.x(value), HEIGHT - BOTTOM + 18, f"{value:g}", "tick", "middle"))
        base = HEIGHT - BOTTOM
        parts.append(_tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="axis"))
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 7, self._x.label, "label", "middle"))
        middle = (TOP + base) / 2
        turned = f"rotate(-90 13 {middle:.1f})"
        parts.append(_tag("text", escape(self._y.label), x=13, y=middle, class_="label middle", transform=turned))
        return Markup("").join(parts)


def _end(axis: Axis, values: Sequence[float]) -> float:
    high = axis.high if axis.high is not None else max(values, default=1.0)
    return high if high > axis.low else axis.low + 1


def _line(frame: _Frame, series: Series) -> list[Markup]:
    places = [(frame.x(x), frame.y(y)) for x, y in series.points]
    drawn = [_tag("path", d=_path(places, series.steps), class_=f"line {series.kind}")]
    if series.dots:
        for (x, y), (left, up) in zip(series.points, places, strict=True):
            note = _title(f"{series.name}: {y:.3f} at {x:.3g}")
            drawn.append(_tag("circle", note, cx=left, cy=up, r=2.6, class_=f"dot {series.kind}"))
    return drawn


def _path(places: Points, steps: bool = False) -> str:
    parts = [f"M{places[0][0]:.1f} {places[0][1]:.1f}"] if places else []
    for x, y in places[1:]:
        parts.append(f"H{x:.1f}V{y:.1f}" if steps else f"L{x:.1f} {y:.1f}")
    return "".join(parts)


def _svg(parts: Sequence[Markup], name: str, numbers: Sequence[Sequence[Any]], height: float = HEIGHT) -> Chart:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, name)
    return Chart.of(head + Markup("").join(parts) + Markup("</svg>"), numbers)


def _rounded(cell: Any) -> Any:
    return float(f"{cell:.7g}") if isinstance(cell, float) else cell


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text)


def _text(x: float, y: float, text: str, kind: str, anchor: str, inside: str = "") -> Markup:
    return _tag("text", escape(inside) + escape(text), x=x, y=y, class_=f"{kind} {anchor}")


def _tag(name: str, inside: str = "", **attributes: float | str) -> Markup:
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_"), f"{v:.2f}".rstrip("0").rstrip(".") if isinstance(v, float) else v)
        for key, v in attributes.items()
    )
    return Markup("<{}{}>{}</{}>").format(Markup(name), given, inside, Markup(name))
