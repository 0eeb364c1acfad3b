"""Figures 7 and 8: how a measure is distributed over the images, a curve a method."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from classify.paper.names import METRICS, method_color, method_title
from classify.paper.plotting import logarithmic, new_figure, save_both, soften
from classify.paper.running import Result
from detattack.tasks.columns import Column

COLUMNS: Sequence[Column] = (
    Column("method", "method", ""),
    Column("image", "image id", "d"),
    Column("value", "value", ".6g"),
)
SPREAD: Sequence[Column] = (
    Column("method", "method", ""),
    Column("images", "images", "d"),
    Column("mean", "mean", ".4g"),
    Column("median", "median", ".4g"),
    Column("deviation", "standard deviation", ".4g"),
)
POINTS = 400

Floats = NDArray[np.float64]


def values_of(result: Result, metric: str) -> dict[int, float]:
    """Return the measure by image id, over the successes of a run."""
    key = "l2" if metric == "squared_l2" else metric
    found = {i: one[key] for i, one in result.method.values.items() if one["success"] and key in one}
    return {i: value**2 for i, value in found.items()} if metric == "squared_l2" else found


def density(values: Floats, at: Floats, reflected: bool = False) -> Floats:
    """Estimate the density of `values` at some places, by Gaussian kernels; their width is Silverman's.

    reflected: the values cannot be below 0, and what the kernels have there is folded back.
    """
    spread = min(np.std(values), np.subtract(*np.percentile(values, (75, 25))) / 1.34) or np.std(values)
    width = max(0.9 * spread * len(values) ** -0.2, 1e-9)
    found = _kernels(at, values, width)
    return found + _kernels(-at, values, width) if reflected else found


def facts(results: Sequence[Result], metric: str) -> list[dict[str, Any]]:
    """Make a row for each method and image."""
    return [
        {"method": result.row, "image": i, "value": value}
        for result in results
        for i, value in values_of(result, metric).items()
    ]


def spread(results: Sequence[Result], metric: str) -> list[dict[str, Any]]:
    """Make a row a method: how its values are distributed."""
    rows = []
    for result in results:
        values = np.array(list(values_of(result, metric).values()))
        numbers = (values.mean(), np.median(values), values.std()) if len(values) else (None, None, None)
        mean, median, deviation = (None if number is None else float(number) for number in numbers)
        rows.append(
            {"method": result.row, "images": len(values), "mean": mean, "median": median, "deviation": deviation}
        )
    return rows


def write_densities(path: Path, results: Sequence[Result], metric: str, title: str) -> None:
    """Write `path` with .png and .pdf: the density as the paper draws it, and that of the logarithm beside it.

    In the latter no method is a line at the margin.
    """
    known = {result.row: np.array(list(values_of(result, metric).values())) for result in results}
    known = {row: values for row, values in known.items() if len(values) > 1}
    figure = new_figure(8.6, 3.7, title)
    left, right = figure.subplots(1, 2)
    _draw_linear(left, known)
    _draw_logarithmic(right, known)
    for axes in (left, right):
        axes.set_xlabel(METRICS[metric].heading, fontsize=8.5)
        axes.set_ylim(0, None)
        soften(axes)
    left.set_ylabel("density", fontsize=8.5)
    right.set_ylabel("density of the logarithm to base 10", fontsize=8.5)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    save_both(figure, path)


def _kernels(at: Floats, values: Floats, width: float) -> Floats:
    z = (at[:, None] - values[None]) / width
    return np.exp(-0.5 * z**2).mean(1) / (width * np.sqrt(2 * np.pi))


def _draw_linear(axes: Axes, known: dict[str, Floats]) -> None:
    # A method that is far off must not press the others to the margin: the right panel has all of it.
    quartiles = [float(np.percentile(values, 75)) for values in known.values()]
    top = 2 * float(np.median(quartiles or [0.5])) or 1.0
    at = np.linspace(0, top, POINTS)
    for row, values in known.items():
        axes.plot(at, density(values, at, reflected=True), color=method_color(row), label=method_title(row))
    axes.set_xlim(0, top)


def _draw_logarithmic(axes: Axes, known: dict[str, Floats]) -> None:
    """Zeros have no logarithm: a curve's area is the share of the images that are not 0."""
    positive = {row: np.log10(values[values > 0]) for row, values in known.items()}
    positive = {row: values for row, values in positive.items() if len(values) > 1}
    every = np.concatenate([*positive.values(), np.zeros(0)])
    if not len(every):
        return
    low, high = np.percentile(every, (0.5, 99.5)) + np.array((-0.4, 0.4))
    at = np.linspace(low, high, POINTS)
    axes.set_xlim(10**low, 10**high)
    logarithmic(axes)
    for row, values in positive.items():
        curve = density(values, at) * len(values) / len(known[row])
        axes.fill_between(10**at, curve, color=method_color(row), alpha=0.12)
        axes.plot(10**at, curve, color=method_color(row))
