"""A table as a figure: a panel a measure, a line a method, ours and the paper's beside each other."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from classify.paper.names import METRICS, method_color, method_title
from classify.paper.plotting import logarithmic, new_figure, save_both, soften
from classify.paper.running import Result
from detattack.metrics.rates import Z95
from detattack.report.colors import INK, SOFT

_MARKERS = ("o", "s", "^", "v")
_NOT_COMPARABLE = ("psnr",)
"""The paper's PSNR is not dB: on one axis with ours it would say nothing."""
_APART = 0.32
_NINES = 5


def write_table_figure(
    path: Path,
    results: Sequence[Result],
    metrics: Sequence[str],
    paper: Mapping[str, Mapping[str, Mapping[str, float]]],
    title: str,
) -> None:
    """Write `path` with .png and .pdf. paper: its numbers by what is judged, metric and row."""
    rows = list(dict.fromkeys(result.row for result in results))
    height = 1.3 + 0.34 * len(rows)
    figure = new_figure(1.9 + 2.2 * len(metrics), height, title)
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _panel(axes, metric, results, rows, paper)
    panels[0].set_yticks(range(len(rows)), [method_title(row) for row in rows])
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    save_both(figure, path)


def _panel(
    axes: Axes,
    metric: str,
    results: Sequence[Result],
    rows: Sequence[str],
    paper: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> None:
    spec = METRICS[metric]
    ways = list(dict.fromkeys(result.judged for result in results))
    published = [paper[judged].get(metric, {}) for judged in ways]
    shifts = [_APART * (number - (len(ways) - 1) / 2) for number in range(len(ways))]
    for number, (judged, shift) in enumerate(zip(ways, shifts, strict=True)):
        own = {result.row: _values(result, metric) for result in results if result.judged == judged}
        known = [(rows.index(row) + shift, row, values) for row, values in own.items() if values]
        if known:
            places, names, values = zip(*known, strict=True)
            _points(axes, places, names, values, _MARKERS[number], judged)
    if metric not in _NOT_COMPARABLE:
        _paper_marks(axes, rows, [0.0] if published[1:] == published[:-1] else shifts, published)
    axes.set_title(f"{spec.heading} {'↑' if spec.higher else '↓'}", fontsize=9.5, fontweight="bold", loc="left")
    soften(axes)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    for place in range(0, len(rows), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#f3f4f6", linewidth=0, zorder=0)
    if spec.similarity:
        _similarity_scale(axes)
    elif spec.logarithmic:
        logarithmic(axes)


def _points(
    axes: Axes,
    places: Sequence[float],
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    marker: str,
    judged: str,
) -> None:
    means = [statistics.fmean(one) for one in values]
    errors = [Z95 * float(np.std(one, ddof=1)) / len(one) ** 0.5 if len(one) > 1 else 0.0 for one in values]
    colors = [method_color(name) for name in names]
    axes.hlines(places, np.subtract(means, errors), np.add(means, errors), colors=colors, linewidth=1.6)
    axes.scatter(means, places, c=colors, marker=marker, s=26, zorder=3)
    axes.scatter([], [], c=SOFT, marker=marker, s=26, label=f"ours, {judged}")


def _paper_marks(
    axes: Axes, rows: Sequence[str], shifts: Sequence[float], published: Sequence[Mapping[str, float]]
) -> None:
    """Once where the paper's numbers are the same for all."""
    marks = [
        (value, rows.index(row) + shift)
        for shift, stated in zip(shifts, published, strict=False)
        for row, value in stated.items()
        if row in rows
    ]
    if marks:
        values, places = zip(*marks, strict=True)
        axes.scatter(
            values, places, marker="D", s=22, facecolors="white", edgecolors=INK, zorder=2, label="the paper's"
        )


def _similarity_scale(axes: Axes) -> None:
    """Scale by the logarithm of the distance from 1, as most values are close to it."""
    least = 10.0**-_NINES

    def forward(values: Any) -> Any:
        return -np.log10(np.clip(1 - np.asarray(values), least, None))

    axes.set_xscale("function", functions=(forward, lambda places: 1 - 10.0 ** -np.asarray(places)))
    axes.autoscale_view()
    low, high = axes.get_xlim()
    axes.set_xlim(low, min(high, 1 - least))
    steps = [1 - part * 10.0**-nines for nines in range(1, _NINES) for part in (5, 2, 1)]
    shown = [step for step in steps if low <= step <= high]
    axes.set_xticks(shown if len(shown) <= 4 else [step for step in shown if set(f"{step:g}") <= set("0.9")])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def _values(result: Result, metric: str) -> list[float]:
    return [one[metric] for one in result.method.values.values() if one["success"] and metric in one]
