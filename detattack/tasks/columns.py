"""Columns of the tables of runs and of images: a key, the heading that people read, and how a cell is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detattack.metrics.image_quality import MEASURES


@dataclass(frozen=True)
class Column:
    """A column of a table of runs. form: how a number is written; empty for text."""

    key: str
    heading: str
    form: str = ""

    def text(self, row: Mapping[str, Any]) -> str:
        """Write the cell of a row, a mapping by key."""
        return number(row[self.key], self.form) if self.form else str(row[self.key])


@dataclass(frozen=True)
class ImageColumn:
    """A column of a table of images.

    - heading: what people read
    - text: writes the cell of a record, given the manifest of its run too
    - is_text: whether the cells are words, not numbers
    - always: whether images that were not attacked have a cell too
    """

    heading: str
    text: Callable[[Any, Mapping[str, Any]], str]
    is_text: bool = False
    always: bool = False


def number(value: float | None, form: str) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def measure_columns(average: str, *names: str) -> Sequence[Column]:
    """Make the columns of measures of image quality. average: `mean` or `median`."""
    return [Column(f"{average}_{name}", MEASURES[name].label, MEASURES[name].format) for name in names]


def measured(name: str) -> ImageColumn:
    """Make the column of a measure of image quality."""
    measure = MEASURES[name]
    return ImageColumn(measure.label, lambda record, manifest: number(record.quality.get(name), measure.format))


@dataclass(frozen=True)
class Curve:
    """What is drawn against the budget: a key of a row of `robustness.json`, and the key of its clean value, if any."""

    key: str
    label: str
    clean: str = ""


BROKEN = Column("broken", "broken", ".1%")
"""Of a table of budgets: the share of images on which the goal is reached."""
COLUMNS: Sequence[Column] = (
    Column("method", "method"),
    Column("success_rate", "success", ".1%"),
    Column("success_low", "from", ".1%"),
    Column("success_high", "to", ".1%"),
    Column("attacked", "attacked", "d"),
    Column("median_k", "K", ".0f"),
    *measure_columns("median", "l2", "linf", "psnr", "ssim"),
    Column("median_forwards", "forwards", ".0f"),
    Column("median_backwards", "backwards", ".0f"),
    Column("seconds_per_image", "s/image", ".2f"),
)
"""Of a table of methods."""
ITERATIONS = ImageColumn("K", lambda record, manifest: str(record.k) if record.k >= 0 else "-")
COSTS = (
    ImageColumn("fwd", lambda record, manifest: str(record.forwards)),
    ImageColumn("bwd", lambda record, manifest: str(record.backwards)),
    ImageColumn("s", lambda record, manifest: f"{record.seconds:.1f}"),
)
IMAGE_COLUMNS: Sequence[ImageColumn] = (
    ITERATIONS,
    ImageColumn("before", lambda record, manifest: f"{record.confidence_before:.2f}"),
    ImageColumn("after", lambda record, manifest: f"{record.confidence_after:.2f}"),
    *map(measured, ("l2", "linf", "psnr", "ssim")),
    *COSTS,
)
"""Of a table of images."""
