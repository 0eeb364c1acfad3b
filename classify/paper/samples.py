"""Figures 1 to 3: a few images as each method changed them, and where, in one color map on one range."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from classify.figure import DPI, fitted, panel_size
from classify.paper.names import method_title
from classify.paper.plotting import save_both
from classify.paper.running import Result
from classify.record import ClassificationRecord
from detattack.datasets.base import Dataset
from detattack.datasets.image_io import read_image
from detattack.metrics.difference import DIFFERENCE_GAIN, difference_map, heatmap
from detattack.report.colors import INK, SOFT
from detattack.tasks.columns import Column

COLUMNS: Sequence[Column] = (
    Column("image", "image", ""),
    Column("judged", "judged", ""),
    Column("method", "method", ""),
    Column("was", "was", ""),
    Column("became", "became", ""),
    Column("confidence", "confidence", ".3f"),
    Column("k", "K", "d"),
    Column("l2", "L2", ".4f"),
    Column("psnr", "PSNR (dB)", ".2f"),
    Column("ssim", "SSIM", ".4f"),
)
_MARGIN, _GAP, _FOOT, _LABELS, _TITLE = 36, 12, 44, 210, 70  # pixels
_SIDES = {"small": 192, "large": 336}  # pixels of a cell, for images below and from 64 pixels


@dataclass(frozen=True, eq=False)
class Sample:
    """An image, and what every method made of it: pixels or floats `[H,W,3]`, in the order of the results."""

    original: NDArray[Any]
    records: tuple[ClassificationRecord, ...]
    adversarial: tuple[NDArray[Any], ...]


def choose(results: Sequence[Result], images: Dataset, count: int) -> list[Sample]:
    """Choose images that all methods succeed on (else: that all have attacked), from all over the data set.

    They are of different classes where there are enough.
    """
    by_id = [{record.id: record for record in result.records()} for result in results]
    attacked = [i for i in by_id[0] if all(i in known and known[i].quality for known in by_id)]
    shared = [i for i in attacked if all(known[i].status == "success" for known in by_id)] or attacked
    firsts = sorted({by_id[0][i].leaves: i for i in reversed(shared)}.values())
    candidates = firsts if len(firsts) >= count else shared
    chosen = candidates[:: max(1, len(candidates) // count)][:count]
    loaded = {sample.id: sample for sample in images.samples}
    return [
        Sample(
            loaded[i].load().pixels,
            tuple(known[i] for known in by_id),
            tuple(_adversarial(result, known[i]) for result, known in zip(results, by_id, strict=True)),
        )
        for i in chosen
    ]


def write_samples(
    path: Path,
    results: Sequence[Result],
    samples: Sequence[Sample],
    classes: Sequence[str],
    title: str,
    gain: float = DIFFERENCE_GAIN,
) -> None:
    """Write `path` with .png and .pdf: a column of pictures and one of differences, times `gain`, for each image."""
    page = _Page(samples[0].original, 1 + len(results), len(samples), title, gain)
    page.label(0, "Original", "")
    several = len({result.variant for result in results}) > 1
    for number, result in enumerate(results, 1):
        page.label(number, method_title(result.row), result.judged if several else "")
    for column, sample in enumerate(samples):
        page.cell(0, 2 * column, sample.original, classes[sample.records[0].leaves])
        for number, (record, pixels) in enumerate(zip(sample.records, sample.adversarial, strict=True), 1):
            page.cell(number, 2 * column, pixels, _became(record, classes))
            difference = difference_map(sample.original, pixels) * (gain / DIFFERENCE_GAIN)
            page.cell(number, 2 * column + 1, heatmap(fitted(difference, page.size)), _distance(record))
    save_both(page.figure, path)


def facts(results: Sequence[Result], samples: Sequence[Sample], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Make a row for each image and method, with the keys of `COLUMNS`."""
    return [
        {
            "image": record.stem,
            "judged": result.judged,
            "method": result.row,
            "was": classes[record.leaves],
            "became": classes[record.adversarial["labels"][0]],
            "confidence": record.confidence_after,
            "k": record.k,
            **{name: record.quality.get(name) for name in ("l2", "psnr", "ssim")},
        }
        for sample in samples
        for result, record in zip(results, sample.records, strict=True)
    ]


class _Page:
    """A grid of cells of one size, each with a line below it; places are pixels from the upper left."""

    def __init__(self, image: NDArray[Any], rows: int, columns: int, title: str, gain: float) -> None:
        self.size = panel_size(image, _SIDES["small" if max(image.shape) < 64 else "large"])
        width = 2 * _MARGIN + _LABELS + columns * (2 * self.size[0] + 3 * _GAP)
        self._size = width, 2 * _MARGIN + _TITLE + rows * (self.size[1] + _FOOT)
        self.figure = Figure(figsize=(self._size[0] / DPI, self._size[1] / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        headline, *more = title.split("\n")
        shown = f"Differences: L2 over channels × {gain:g}, in one color map on the range 0–1."
        self._text(_MARGIN, _MARGIN + 20, headline, 10, INK, weight="bold")
        self._text(_MARGIN, _MARGIN + 48, "  ".join([shown, *more]), 7.5, SOFT)

    def label(self, row: int, title: str, subtitle: str) -> None:
        """Write what a row shows."""
        middle = self._top(row) + self.size[1] / 2
        self._text(_MARGIN, middle, title, 8.5, INK, weight="bold")
        self._text(_MARGIN, middle + 28, subtitle, 7.5, SOFT)

    def cell(self, row: int, column: int, pixels: NDArray[Any], caption: str) -> None:
        """Draw an image `[H,W,3]`; every second column is nearer to the one before."""
        left = _MARGIN + _LABELS + column * (self.size[0] + _GAP) + column // 2 * _GAP
        across, down = self._size
        top = self._top(row)
        axes = self.figure.add_axes(
            (left / across, 1 - (top + self.size[1]) / down, self.size[0] / across, self.size[1] / down)
        )
        axes.imshow(fitted(pixels, self.size), aspect="auto", interpolation="nearest")
        axes.set_axis_off()
        self._text(left, top + self.size[1] + 22, caption, 6.5, SOFT)

    def _top(self, row: int) -> float:
        return _MARGIN + _TITLE + row * (self.size[1] + _FOOT)

    def _text(self, x: float, y: float, text: str, points: float, color: str, **style: Any) -> None:
        across, down = self._size
        self.figure.text(x / across, 1 - y / down, text, size=points, color=color, parse_math=False, **style)


def _adversarial(result: Result, record: ClassificationRecord) -> NDArray[Any]:
    floats = result.folder / "floats" / f"{record.stem}.npy"
    if floats.is_file():
        return np.load(floats, allow_pickle=False).transpose(1, 2, 0)
    return read_image(result.folder / "images" / f"{record.stem}.png").pixels


def _became(record: ClassificationRecord, classes: Sequence[str]) -> str:
    name = classes[record.adversarial["labels"][0]]
    return f"{name[:16]}{'…' if len(name) > 16 else ''} {record.confidence_after:.2f}"


def _distance(record: ClassificationRecord) -> str:
    return f"K = {record.k}, L2 = {record.quality.get('l2') or 0:.3f}"
