"""What a command prints in the end: a table for people, or one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from detattack.cli.terminal import Terminal, say, shown
from detattack.runs.record import BaseRecord
from detattack.tasks.base import Task
from detattack.tasks.columns import ITERATIONS, Column
from detattack.tasks.summary import question_name

COLORS = {"success": "green", "failure": "red", "error": "red", "nothing": "dim", "already": "dim"}
PIPED_WIDTH = 120
"""A table that is piped has no width to keep to."""
GAP = 2
"""Spaces between two columns."""
BROKEN = {"success": "yes", "failure": "no"}
"""What the column `broken` of a run that spends a budget has for a status; other statuses have their own names."""


def print_json(out: Path, records: Iterable[BaseRecord], summary: Mapping[str, Any]) -> None:
    """Print `{"run": DIR, "summary": {...}, "images": [...]}` on stdout, image by image."""
    start = json.dumps({"run": str(out), "summary": summary, "images": []}, allow_nan=False)
    print(start.removesuffix("]}"), end="")
    for number, record in enumerate(records):
        image = {key: value for key, value in record.as_json().items() if key not in record.long}
        print(", " if number else "", json.dumps(image, allow_nan=False), sep="", end="")
    print("]}")


def print_images(
    task: Task[Any, Any, Any],
    out: Path,
    records: Sequence[Any],
    manifest: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> None:
    """Print a row an image, the run in a line, and a line for each image with nothing to attack."""
    console, spends = Terminal(), summary.get("kind") == "budget"
    title = shown(", ".join(filter(None, (task.title(records), question_name(summary)))))
    table = Table(title=Text(title), title_justify="left", box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("image", overflow="fold")
    table.add_column("broken" if spends else "status", no_wrap=True)
    for column in task.image_columns:
        if column.is_text:
            table.add_column(column.heading, overflow="fold")
        else:
            heading = "worst" if spends and column is ITERATIONS else column.heading
            table.add_column(heading, justify="right", no_wrap=True)
    for record in records:
        cells = [
            Text(shown(column.text(record, manifest)) if record.quality or column.always else "")
            for column in task.image_columns
        ]
        status = BROKEN.get(record.status, record.status) if spends else record.status
        table.add_row(Text(shown(record.stem)), Text(status, style=COLORS[record.status]), *cells)
    console.print(table)
    kinds = ", ".join(f"{summary[s]} {s}" for s in ("nothing", "already", "error") if summary[s])
    count = f"{summary['success']} of {summary['attacked']} {'broken' if spends else 'succeeded'}"
    console.print(f"{count}{f'; {kinds}' if kinds else ''}", highlight=False)
    for line in task.skipped_lines(records, manifest):
        console.print(shown(line), markup=False, highlight=False, soft_wrap=True)
    console.print(f"run folder: {out}", markup=False, highlight=False, soft_wrap=True)


def print_summary(task: Task[Any, Any, Any], out: Path, summary: Mapping[str, Any], skipped: str = "") -> None:
    """Print what came out of a run over a data set. skipped: a line on images with nothing to attack."""
    console = Terminal()
    table = Table(box=None, show_header=False, padding=(0, 1))
    for name, text in task.summary_lines(summary):
        table.add_row(name, Text(shown(text)))
    console.print(table)
    if skipped:
        console.print(shown(skipped), markup=False, highlight=False, soft_wrap=True)
    console.print(f"run folder: {out}", markup=False, highlight=False, soft_wrap=True)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print a table of runs: as `print_rows`."""
    print_rows([column.heading for column in columns], [[column.text(row) for column in columns] for row in rows])


def print_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, aligned: a row a line, or, where the terminal is too narrow for that, a column a line.

    Rows that do not fit beside one another then are in tables below one another.
    """
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    wide = sum(widths) + GAP * len(widths)
    console = Terminal(width=None if sys.stdout.isatty() else max(wide, PIPED_WIDTH))
    if wide <= console.width:
        _print_aligned(console, headings, rows)
        return
    for number, group in enumerate(_fitting(rows, console.width - max(map(len, headings)) - GAP)):
        if number:
            console.print()
        _print_aligned(console, *_turned(headings, group))


def print_markdown(text: str) -> None:
    """Print markdown, its tables as `print_rows` does."""
    for paragraph in text.split("\n\n"):
        if not paragraph.startswith("|"):
            say(paragraph)
            say("")
            continue
        head, _, *rows = map(_cells, paragraph.strip().splitlines())
        print_rows(head, rows)
        say("")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split(" | ")]


def _fitting(rows: Sequence[Sequence[str]], width: int) -> Iterator[list[Sequence[str]]]:
    """Group rows that fit beside one another, each as wide as its longest cell."""
    group: list[Sequence[str]] = []
    left = width
    for row in rows:
        taken = max(map(len, row)) + GAP
        if group and taken > left:
            yield group
            group, left = [], width
        group.append(row)
        left -= taken
    yield group


def _turned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Sequence[str], list[Sequence[str]]]:
    head, *lines = zip(headings, *rows, strict=True)
    return head, list(lines)


def _print_aligned(console: Terminal, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, header_style="bold", padding=(0, GAP, 0, 0))
    for place, heading in enumerate(head):
        table.add_column(Text(shown(heading)), justify="right" if place else "left", overflow="fold")
    for line in lines:
        table.add_row(*(Text(shown(cell)) for cell in line))
    console.print(table)


def warn(task: Task[Any, Any, Any], summary: Mapping[str, Any]) -> None:
    """Say on stderr, loudly, what makes the figures of a run doubtful."""
    for warning in task.warnings(summary):
        Terminal(stderr=True).print(Text(shown(warning), style="bold red"), soft_wrap=True)
