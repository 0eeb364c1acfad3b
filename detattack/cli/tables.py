"""What a command prints in the end: a table for people, or one JSON object for programs."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from detattack.job import Record, record_to_json
from detattack.results import summarize

COLORS = {"success": "green", "failure": "red", "error": "red", "nothing": "dim", "already": "dim"}
LONG = ("clean", "adversarial", "trace")
"""Fields of a record that are too long for the JSON on stdout; the run folder has them."""


def print_json(out: Path, records: list[Record]) -> None:
    """`{"run": DIR, "summary": {...}, "images": [...]}` on stdout."""
    images = [{k: v for k, v in record_to_json(r).items() if k not in LONG} for r in records]
    print(json.dumps({"run": str(out), "summary": summarize(records), "images": images}, allow_nan=False))


def print_table(out: Path, records: list[Record]) -> None:
    """A row an image, and the run in a line."""
    console = Console()
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("image", overflow="fold")
    table.add_column("goal", overflow="fold")
    table.add_column("status")
    for name in ("K", "before", "after", "L2", "L∞", "PSNR", "SSIM", "fwd", "bwd", "s"):
        table.add_column(name, justify="right")
    for record in records:
        table.add_row(record.stem, record.goal, Text(record.status, style=COLORS[record.status]), *_figures(record))
    console.print(table)
    summary = summarize(records)
    attacked = summary["success"] + summary["failure"] + summary["error"]
    kinds = ", ".join(f"{summary[s]} {s}" for s in ("nothing", "already", "error") if summary[s])
    console.print(f"{summary['success']} of {attacked} succeeded{f'; {kinds}' if kinds else ''}", highlight=False)
    console.print(f"run folder: {out}", markup=False, highlight=False, soft_wrap=True)


def _figures(record: Record) -> list[str]:
    if not record.quality:
        return []
    q = record.quality
    return [
        str(record.k) if record.k >= 0 else "-",
        f"{record.confidence_before:.2f}",
        f"{record.confidence_after:.2f}",
        _number(q.get("l2"), ".3f"),
        _number(q.get("linf"), ".4f"),
        _number(q.get("psnr"), ".1f"),
        _number(q.get("ssim"), ".4f"),
        str(record.forwards),
        str(record.backwards),
        f"{record.seconds:.1f}",
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
