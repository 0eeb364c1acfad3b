"""The figure of one attacked image: original, adversarial image, where they differ, and what the classifier says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from classify.record import ClassificationRecord
from detattack.engine.budget import Budget
from detattack.metrics.difference import COLOR_MAP, DIFFERENCE_LABEL, difference_map, heatmap
from detattack.report.colors import INK, SOFT
from detattack.report.lettering import text_width
from detattack.report.sheet import budget_caption, caption_of, save_figure
from detattack.runs.record import Outcome

DPI = 200
GRID = "#d9d9d9"
LEFT_COLOR, WRONG_COLOR, OTHER_COLOR = "#2b6cb0", "#dd6b20", "#b8bec6"
"""Of the class that is left, of the one that it is taken for, and of all others."""
_SIDE = 560  # pixels: of the longer side of a panel
_MARGIN, _GAP, _TITLE, _HEAD, _BARS, _NAMES = 40, 56, 98, 68, 240, 0.42  # pixels; the names' share of a bar chart


def write_attack_figure(
    path: Path, outcome: Outcome[ClassificationRecord], classes: Sequence[str], budget: Budget | None = None
) -> None:
    """Write the figure, PNG or PDF by extension, atomically. Nothing for an image that could not be read.

    What is shown of a float attack are the floats.

    - classes: the names.
    - budget: that was spent on the image, if one was.
    """
    if outcome.original is None or outcome.pixels is None:
        return
    record, original = outcome.record, outcome.original
    adversarial = outcome.pixels if outcome.floats is None else outcome.floats.transpose(1, 2, 0)
    page = _Page(*panel_size(original))
    page.title(_headline(record, classes), _facts(record, budget))
    difference = difference_map(original, adversarial)
    colors = {_first(record.adversarial): WRONG_COLOR, record.leaves: LEFT_COLOR}
    for pixels, title, found in (
        (original, "Original", record.clean),
        (adversarial, "Adversarial", record.adversarial),
    ):
        page.picture(pixels, title, _said(found, classes))
        page.bars(found, classes, colors)
        page.next()
    page.picture(heatmap(fitted(difference, page.panel)), "Difference", f"largest {float(difference.max()):.2f}")
    page.color_bar(_file_note(record))
    save_figure(page.figure, path, DPI)


def panel_size(pixels: NDArray[Any], side: int = _SIDE) -> tuple[int, int]:
    """Choose the width and height at which an image is shown: the longer one is about `side` pixels.

    Each pixel of a small image becomes a whole number of the figure's.
    """
    height, width = pixels.shape[:2]
    scale: float = side / max(height, width)
    scale = round(scale) if scale >= 2 else scale
    return max(1, round(width * scale)), max(1, round(height * scale))


def fitted(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize an image to (width, height): averaged if it is larger, its pixels repeated if it is smaller."""
    method = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(pixels, size, interpolation=method))


class _Page:
    """Three columns, each a picture with its title and something below it. Places are pixels from the upper left."""

    def __init__(self, width: int, height: int) -> None:
        self.panel = width, height
        self._pitch = max(width, _SIDE * 3 // 4) + _GAP
        self._size = 2 * _MARGIN + 3 * self._pitch - _GAP, _TITLE + _HEAD + height + _BARS + _MARGIN
        self.figure = Figure(figsize=(self._size[0] / DPI, self._size[1] / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self._left = _MARGIN

    def next(self) -> None:
        """Go on to the next column."""
        self._left += self._pitch

    def title(self, headline: str, facts: str) -> None:
        """Write what happened, in smaller letters where it is long, and its numbers."""
        room = 72 / DPI * (self._size[0] - 2 * _MARGIN)
        points = min(12.0, room / text_width(headline, 1, bold=True))
        self._text(_MARGIN, 44, headline, points, INK, weight="bold")
        self._text(_MARGIN, 76, facts, 8.5, SOFT)

    def picture(self, pixels: NDArray[Any], title: str, subtitle: str) -> None:
        """Draw an image `[H,W,3]` with its titles."""
        self._text(self._left, _TITLE + 34, title, 9.5, INK, weight="bold")
        self._text(self._left, _TITLE + 58, subtitle, 8, SOFT)
        axes = self._axes(self._left, _TITLE + _HEAD, *self.panel)
        axes.imshow(fitted(pixels, self.panel), aspect="auto", interpolation="nearest")
        axes.set_axis_off()

    def bars(self, found: Mapping[str, list[Any]], classes: Sequence[str], colors: Mapping[int, str]) -> None:
        """Draw the likeliest classes and their probabilities."""
        if not found:
            return
        names = int(_NAMES * (self._pitch - _GAP))
        axes = self._axes(self._left + names, self._below(), self._pitch - _GAP - names - 60, _BARS - 40)
        places = range(len(found["labels"]))
        shades = [colors.get(label, OTHER_COLOR) for label in found["labels"]]
        axes.barh(places, found["scores"], color=shades, height=0.62)
        for place, label, score in zip(places, found["labels"], found["scores"], strict=True):
            axes.text(score + 0.02, place, f"{score:.3f}", size=7, color=INK, va="center")
            name = _short(classes[label])
            axes.text(-0.03, place, name, size=7, color=INK, va="center", ha="right", parse_math=False)
        _bare(axes)
        axes.axvline(0, color=SOFT, linewidth=0.6)
        axes.set(xlim=(0, 1), ylim=(4.6, -0.6))

    def color_bar(self, note: str) -> None:
        """Draw the scale of the difference, and a line below it."""
        axes = self._axes(self._left, self._below() + 10, self.panel[0], 16)
        mappable = ScalarMappable(Normalize(0, 1), matplotlib.colormaps[COLOR_MAP])
        bar = self.figure.colorbar(mappable, cax=axes, orientation="horizontal", ticks=[0, 0.25, 0.5, 0.75, 1])
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2, width=0.5, pad=2, color=SOFT, labelcolor=SOFT)
        bar.set_label(DIFFERENCE_LABEL, size=7.5, color=SOFT, labelpad=3)
        self._text(self._left, self._below() + 132, note, 8, INK)

    def _below(self) -> int:
        return _TITLE + _HEAD + self.panel[1] + 14

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        across, down = self._size
        return self.figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))

    def _text(self, x: float, y: float, text: str, points: float, color: str, **style: Any) -> None:
        across, down = self._size
        self.figure.text(
            x / across, 1 - y / down, text, size=points, color=color, va="baseline", parse_math=False, **style
        )


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _headline(record: ClassificationRecord, classes: Sequence[str]) -> str:
    if not record.clean or not record.adversarial:
        return record.stem
    labels = record.predicted, _first(record.adversarial)
    before, after = (_short(classes[label], 34) for label in labels)
    return f"{record.stem}: {before}" if len(set(labels)) == 1 else f"{record.stem}: {before} → {after}"


def _facts(record: ClassificationRecord, budget: Budget | None) -> str:
    goal = "targeted" if record.targeted else "any other class"
    if budget:
        return budget_caption(goal, record, budget)
    quality = record.quality
    return caption_of(goal, record.status, record.k, quality.get("l2"), quality.get("psnr"))


def _said(found: Mapping[str, list[Any]], classes: Sequence[str]) -> str:
    return f"{_short(classes[found['labels'][0]], 34)}, {found['scores'][0]:.1%}" if found else ""


def _file_note(record: ClassificationRecord) -> str:
    if not record.file_quality:
        return ""
    verdict = "still fools" if record.file_success else "no longer fools"
    return f"saved as 8 bits it {verdict} the model"


def _first(found: Mapping[str, list[Any]]) -> int:
    return found["labels"][0] if found else -1


def _short(name: str, most: int = 17) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip(" ,") + "…"
