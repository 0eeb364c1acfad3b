"""What functions of `detattack.api` return: a summary, a table for pandas, a figure, and how a notebook shows them."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from detattack.core.errors import InputError
from detattack.core.wording import counted
from detattack.metrics.difference import difference_map, heatmap
from detattack.report.sheet import new_figure
from detattack.runs.folder import SUMMARY, RunFolder
from detattack.runs.manifest import task_in
from detattack.runs.record import BaseRecord, Outcome
from detattack.tasks.base import Task
from detattack.tasks.columns import Kind, RecordColumn, record_columns
from detattack.tasks.image_table import PANDAS, rows_of, values_of
from detattack.tasks.registry import find_task
from detattack.workflows.compare import curve, draw_curves, largest_distance, read_method

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SHOWN_ROWS, SHOWN_IMAGES = 12, 3
"""How many rows and images a notebook shows."""
SHOWN_DPI = 72
Texts = Sequence[Sequence[str]]
"""Rows of cells; the first are the headings."""


class Result(dict[str, Any]):
    """A summary that can be shown: the keys and values of `summary`, a table and a figure."""

    @property
    def summary(self) -> dict[str, Any]:
        """The summary alone."""
        return dict(self)

    def to_pandas(self) -> "DataFrame":
        """Return the table; docs/columns.md says what its columns are. Raises `InputError` without pandas."""
        raise NotImplementedError

    def figure(self) -> "Figure":
        """Draw the figure: a `Figure` of matplotlib, which `savefig` writes."""
        raise NotImplementedError

    def texts(self) -> Texts:
        """Write the short table that a notebook shows."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({counted(len(self), 'key')})"

    def _repr_html_(self) -> str:
        """Show a short table and the figure."""
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=SHOWN_DPI)
        picture = base64.b64encode(buffer.getvalue()).decode()
        return f'{_html(self.texts())}<img src="data:image/png;base64,{picture}" alt="figure">'


class Attacked(Result):
    """Images that were attacked, without a run folder.

    - images: the adversarial images, in the kind that was given: a batch of tensors for a batch of tensors. An image
      that was not attacked is as it was, after rounding to 8 bits
    - outcomes: of each image, in order; `save` writes the PNG that was judged
    - columns, manifest: of the table
    """

    def __init__(
        self,
        images: Any,
        outcomes: Sequence[Outcome[Any]],
        columns: Sequence[RecordColumn],
        manifest: Mapping[str, Any],
        summary: Mapping[str, Any],
    ) -> None:
        super().__init__(summary)
        self.images, self.outcomes = images, outcomes
        self._columns, self._manifest = columns, manifest

    def __repr__(self) -> str:
        return f"Attacked({counted(self['images'], 'image')}: {self['success']} success, {self['failure']} failure)"

    @property
    def records(self) -> list[BaseRecord]:
        """What is known of each image."""
        return [outcome.record for outcome in self.outcomes]

    def to_pandas(self) -> "DataFrame":
        """Return a row an image, with the columns of `images.csv`."""
        rows = [values_of(record, self._manifest, self._columns) for record in self.records]
        return frame({column.key: column.kind for column in self._columns}, rows)

    def figure(self) -> "Figure":
        """Draw original, adversarial image and difference of the first images that were attacked."""
        seen = [one for one in self.outcomes if one.record.quality] or [one for one in self.outcomes if one.png]
        figure = new_figure(9, 3 * max(1, len(seen[:SHOWN_IMAGES])))
        axes = figure.subplots(max(1, len(seen[:SHOWN_IMAGES])), 3, squeeze=False)
        for row in axes:
            for axis in row:
                axis.axis("off")
        for row, one in zip(axes, seen, strict=False):
            pair: Any = one.original, one.pixels
            titles = (one.record.stem, one.record.status, "difference")
            for axis, pixels, title in zip(row, (*pair, heatmap(difference_map(*pair))), titles, strict=True):
                axis.imshow(pixels)
                axis.set_title(title, fontsize=9)
        return figure

    def texts(self) -> Texts:
        """Write a row an image."""
        rows = [
            [r.stem, r.status, *(f"{r.quality[name]:.3g}" if r.quality.get(name) else "-" for name in ("l2", "psnr"))]
            for r in self.records
        ]
        return [["image", "status", "L2", "PSNR, dB"], *rows]


class Run(Result):
    """A finished run folder: the content of its `summary.json`, its records and files.

    - path: the folder, in which `images/` holds the adversarial images
    - model: that was attacked, where it is in memory
    """

    def __init__(self, path: Path, model: Any = None, held: TemporaryDirectory[str] | None = None) -> None:
        """Read a run folder. held: removed with this object. Raises `InputError` where it is none, or not finished."""
        self.path, self.model, self._held = path, model, held
        with closing(self._open()) as folder:
            if not (path / SUMMARY).is_file():
                raise InputError(f"{path}: is not finished; the command with --resume goes on")
            super().__init__(folder.read_json(SUMMARY))

    def __repr__(self) -> str:
        counts = f"{counted(self['images'], 'image')}: {self['success']} success, {self['failure']} failure"
        return f"Run({place(self.path, self._held)}, {counts})"

    @property
    def task(self) -> Task[Any, Any, Any]:
        """What was attacked."""
        return find_task(task_in(self.path))

    @property
    def records(self) -> list[BaseRecord]:
        """What is known of each image."""
        with closing(self._open()) as folder:
            return folder.records()

    def to_pandas(self) -> "DataFrame":
        """Return a row an image, with the columns of `images.csv`."""
        columns = record_columns(self.task.record_columns)
        with closing(self._open()) as folder:
            return frame({column.key: column.kind for column in columns}, rows_of(folder, columns))

    def figure(self) -> "Figure":
        """Draw success, and AP where annotated, against the largest perturbation that counts."""
        with closing(self._open()) as folder:
            name = folder.manifest["config"]["attack"]["name"]
            method = read_method(name, folder)
            top = largest_distance([method])
            return draw_curves({name: curve(method, folder, self.task, self.task.annotations_in(folder), top)})

    def texts(self) -> Texts:
        """Write what the command line prints."""
        return [["run", self.path.name], *self.task.summary_lines(self)]

    def _open(self) -> RunFolder[Any]:
        return RunFolder.open(self.path, self.task.record_type)


def place(path: Path, held: TemporaryDirectory[str] | None) -> str:
    """Say where a result is; a temporary folder has no name that means anything."""
    return repr(str(path)) if held is None else "temporary"


def frame(kinds: Mapping[str, Kind], rows: Iterable[Sequence[Any]]) -> "DataFrame":
    """Make a table of pandas. kinds: of the columns, by name. Raises `InputError` where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise InputError("to_pandas: needs pandas; pip install pandas") from None
    columns = list(zip(*rows, strict=True)) or [()] * len(kinds)
    typed: Iterable[tuple[str, Kind, Sequence[Any]]] = zip(kinds, kinds.values(), columns, strict=True)
    return pandas.DataFrame({key: pandas.array(list(values), dtype=PANDAS[kind]) for key, kind, values in typed})


def _html(texts: Texts) -> str:
    """Write a table; a last row says how many are left out."""
    head, *rows = texts
    left = len(rows) - SHOWN_ROWS
    lines = [_row("th", head), *(_row("td", row) for row in rows[:SHOWN_ROWS])]
    return f"<table>{''.join(lines)}</table>" + (f"<p>and {left} more</p>" if left > 0 else "")


def _row(cell: str, texts: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(text)}</{cell}>' for text in texts)}</tr>"
