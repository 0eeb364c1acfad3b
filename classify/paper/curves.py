"""Figure 4: how sure the model is of the class that an attack goes to, iteration by iteration and on past K."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from numpy.typing import NDArray

from classify.figure import WRONG_COLOR
from classify.paper.plotting import new_figure, save_both, soften
from classify.paper.running import Result
from classify.record import ClassificationRecord
from detattack.datasets.base import Dataset
from detattack.report.colors import INK, SOFT
from detattack.tasks.columns import Column

COLUMNS: Sequence[Column] = (
    Column("image", "image", ""),
    Column("was", "was", ""),
    Column("target", "target class", ""),
    Column("k", "K", "d"),
    Column("iteration", "iteration", "d"),
    Column("confidence", "confidence", ".4f"),
)
_ACROSS = 3


@dataclass(frozen=True, eq=False)
class Rise:
    """An image, its record, and the probability of the class that it goes to at each iteration."""

    original: NDArray[Any]
    record: ClassificationRecord
    confidence: tuple[float, ...]


def rises(result: Result, images: Dataset) -> list[Rise]:
    """Of every image that the run attacked."""
    loaded = {sample.id: sample for sample in images.samples}
    # The loss of these attacks is the cross-entropy of the wrong class: its probability is exp(−loss).
    return [
        Rise(loaded[record.id].load().pixels, record, tuple(math.exp(-loss) for loss in record.trace["loss"]))
        for record in result.records()
        if record.trace.get("loss")
    ]


def write_rises(path: Path, found: Sequence[Rise], classes: Sequence[str], title: str) -> None:
    """Write `path` with .png and .pdf: a panel an image, K marked."""
    down = math.ceil(len(found) / _ACROSS)
    figure = new_figure(3.1 * min(_ACROSS, len(found)), 2.3 * down + 0.4, title)
    panels = figure.subplots(down, min(_ACROSS, len(found)), sharey=True, squeeze=False)
    for axes, rise in zip(panels.flat, found, strict=False):
        _draw(axes, rise, classes)
    for axes in panels.flat[len(found) :]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel("iteration", fontsize=8.5)
    for axes in panels[:, 0]:
        axes.set_ylabel("confidence, target class", fontsize=8.5)
    save_both(figure, path)


def facts(found: Sequence[Rise], classes: Sequence[str], every: bool = True) -> list[dict[str, Any]]:
    """Make a row for each iteration of each image, or for its K alone (the last where there is none)."""
    return [
        {
            "image": rise.record.stem,
            "was": classes[rise.record.leaves],
            "target": classes[rise.record.wrong],
            "k": rise.record.k,
            "iteration": iteration,
            "confidence": confidence,
        }
        for rise in found
        for iteration, confidence in enumerate(rise.confidence)
        if every or iteration == (rise.record.k if rise.record.k >= 0 else len(rise.confidence) - 1)
    ]


def _draw(axes: Axes, rise: Rise, classes: Sequence[str]) -> None:
    record, values = rise.record, rise.confidence
    soften(axes)
    axes.plot(values, color=WRONG_COLOR, linewidth=1.6)
    if record.k >= 0:
        place = record.k, values[record.k]
        axes.axvline(record.k, color=SOFT, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.plot(*place, "o", color=INK, markersize=5, zorder=3)
        axes.annotate(f"K = {record.k}", place, (6, -4), textcoords="offset points", fontsize=8, va="top")
    axes.set(xlim=(0, len(values) - 1), ylim=(0, 1.02))
    axes.set_title(f"{classes[record.leaves]} → {classes[record.wrong]}", fontsize=8.5, loc="left", parse_math=False)
    thumb = axes.inset_axes((0.66, 0.06, 0.32, 0.4))
    thumb.imshow(rise.original, interpolation="nearest")
    thumb.set(xticks=[], yticks=[])
