"""Columns of the tables of runs and of images: a key, the heading that people read, and how a cell is written."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
    Column("success_low", "95% CI from", ".1%"),
    Column("success_high", "to", ".1%"),
    Column("attacked", "attacked", "d"),
    Column("median_k", "K", "g"),
    *measure_columns("median", "l2", "linf", "psnr", "ssim"),
    Column("median_forwards", "forwards", "g"),
    Column("median_backwards", "backwards", "g"),
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


Kind = Literal["text", "integer", "number", "boolean"]


@dataclass(frozen=True)
class RecordColumn:
    """A column of `images.csv`: one flat value of each image.

    - key: its name in the file
    - kind: what the values are
    - value: takes it from a record, given the manifest of its run; None: the image has none
    - text: what it is, for people
    - unit: empty for none
    """

    key: str
    kind: Kind
    value: Callable[[Any, Mapping[str, Any]], Any]
    text: str
    unit: str = ""


def field_column(key: str, kind: Kind, text: str, unit: str = "", attacked: bool = False) -> RecordColumn:
    """Make the column of a field of records. attacked: whether images that were not attacked have none."""
    return RecordColumn(
        key,
        kind,
        lambda record, manifest: None if attacked and not record.quality else getattr(record, key),
        text,
        unit,
    )


def measure_column(name: str) -> RecordColumn:
    """Make the column of a measure of image quality, empty where it was not taken or is not finite."""
    measure = MEASURES[name]
    text = first_line(measure.function)
    return RecordColumn(name, "number", lambda record, manifest: record.quality.get(name), text, measure.unit)


def first_line(function: Callable[..., Any]) -> str:
    """Return what a function says of itself, without the verb that it begins with."""
    line = (inspect.getdoc(function) or "").partition("\n")[0]
    return line.removeprefix("Return ")


IDENTITY: Sequence[RecordColumn] = (
    field_column("id", "integer", "the image's id in its data set"),
    field_column("stem", "text", "the name of its files in the run folder, without suffix"),
    field_column("source", "text", "where it comes from: a path, or the number of a scene"),
    field_column(
        "status", "text", "`success`, `failure`, `nothing` (to attack), `already` (holds untouched) or `error`"
    ),
    field_column("reason", "text", "why it was not attacked, or what went wrong"),
    field_column("width", "integer", "of the image", "px"),
    field_column("height", "integer", "of the image", "px"),
    RecordColumn("notes", "text", lambda record, manifest: "; ".join(record.notes), "conversions made while reading"),
    RecordColumn(
        "k",
        "integer",
        lambda record, manifest: None if record.k < 0 else record.k,
        "K, the first iteration that succeeded; of a budget, that of the worst image",
    ),
    field_column("confidence_before", "number", "what the goal is about, on the original", "0 to 1"),
    field_column("confidence_after", "number", "the same on the adversarial image", "0 to 1", attacked=True),
    field_column("file_success", "boolean", "whether the goal holds for the 8-bit file", attacked=True),
)
"""The first columns of `images.csv`, of every task."""
PASSES: Sequence[RecordColumn] = (
    field_column("forwards", "integer", "forward passes that the image took part in"),
    field_column("backwards", "integer", "backward passes that the image took part in"),
    field_column("seconds", "number", "wall-clock time of the image", "s"),
    field_column("digest", "text", "SHA-256 of its PNG"),
)
"""The last columns of `images.csv`, of every task."""


def record_columns(own: Sequence[RecordColumn]) -> Sequence[RecordColumn]:
    """List the columns of `images.csv`. own: those of a task."""
    return (*IDENTITY, *own, *map(measure_column, MEASURES), *PASSES)
