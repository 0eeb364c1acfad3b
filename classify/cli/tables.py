"""What the commands on classifiers print in the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from classify.attack_batch import ClassificationRecord
from detattack.cli.tables import COLORS
from detattack.cli.terminal import Terminal, shown
from detattack.metrics.image_quality import MEASURES

SHOWN = ("l2", "linf", "psnr")


def print_table(
    out: Path, records: Sequence[ClassificationRecord], summary: dict[str, Any], classes: Sequence[str]
) -> None:
    """A row an image, and the run in a line."""
    console = Terminal()
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("image", "status", "was", "became"):
        table.add_column(name, overflow="fold")
    for name in ("K", *(MEASURES[name].label for name in SHOWN), "fwd", "bwd", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        cells = (_likeliest(found, classes) for found in (record.clean, record.adversarial))
        status = Text(record.status, style=COLORS[record.status])
        table.add_row(Text(shown(record.stem)), status, *cells, *_figures(record))
    console.print(table)
    kinds = ", ".join(f"{summary[s]} {s}" for s in ("already", "error") if summary[s])
    count = f"{summary['success']} of {summary['attacked']} succeeded"
    console.print(f"{count}{f'; {kinds}' if kinds else ''}", highlight=False)
    for record in records:
        if record.status == "already" and record.reason:
            console.print(f"{record.stem}: {record.reason}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"run folder: {out}", markup=False, highlight=False, soft_wrap=True)


def _likeliest(found: dict[str, list], classes: Sequence[str]) -> Text:
    if not found:
        return Text("-")
    return Text(shown(f"{classes[found['labels'][0]]} {found['scores'][0]:.2f}"))


def _figures(record: ClassificationRecord) -> list[str]:
    if not record.quality:
        return []
    measured = (MEASURES[name].text(record.quality.get(name)) for name in SHOWN)
    k = str(record.k) if record.k >= 0 else "-"
    return [k, *measured, str(record.forwards), str(record.backwards), f"{record.seconds:.1f}"]
