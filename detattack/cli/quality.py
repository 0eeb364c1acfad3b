"""`detattack quality`: any two images, or two folders of them, held against each other."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.core.errors import InputError
from detattack.core.wording import counted

if TYPE_CHECKING:
    from detattack.metrics.image_pairs import MatchedFolders, MeasuredPair

NAMED_AT_MOST = 5
"""Images without a partner that are named on stderr; `--json` has them all."""

Only = Annotated[
    str | None,
    typer.Option(
        help="Measures with commas between, e.g. psnr,ssim. Default: all.", autocompletion=n.some_of(n.MEASURES)
    ),
]


def quality(
    a: Annotated[Path, typer.Argument(help="An image, or a folder: the original.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Another, or a folder of images of the same names.", show_default=False)],
    only: Only = None,
    csv: Annotated[Path | None, typer.Option(help="Also write a row an image to this file.")] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure how far images are from their originals: distances, similarities, colors."""
    from detattack.cli.progress import Progress
    from detattack.core.files import write_bytes_atomic
    from detattack.metrics.image_pairs import match_images, measure_pair, measure_pairs

    names = _names(only)
    if csv and not csv.absolute().parent.is_dir():
        raise InputError(f"--csv {csv}: no such folder {csv.absolute().parent}")
    found = match_images(a, b)
    if not found.pairs:
        raise InputError(f"{a} and {b}: no image of the one has the name of an image of the other")
    if a.is_dir():
        with Progress(not quiet) as progress:
            measured = []
            for one in measure_pairs(found.pairs, names):
                measured.append(one)
                progress.measuring(len(measured), len(found.pairs))
    else:
        measured = [measure_pair(found.pairs[0], names)]
    _warn(a, b, found, measured)
    if not any(one.quality for one in measured):
        raise InputError(f"none of {counted(len(measured), 'pair')} could be measured; the first: {measured[0].reason}")
    if csv:
        write_bytes_atomic(csv, _csv(names, measured).encode("utf-8", "backslashreplace"))  # a name may be no text
    if json:
        _print_json(found, measured)
    elif not quiet:
        _print_table(names, measured)


def _names(only: str | None) -> list[str]:
    from detattack.metrics.image_quality import MEASURES

    names = list(MEASURES) if only is None else [name.strip() for name in only.split(",")]
    return list(dict.fromkeys(MEASURES.find(name).name for name in names))


def _warn(a: Path, b: Path, found: "MatchedFolders", measured: "Sequence[MeasuredPair]") -> None:
    """On stderr: who has no partner, what could not be measured, what was converted (each kind once)."""
    from detattack.cli.terminal import say

    for folder, alone in ((a, found.only_first), (b, found.only_second)):
        if alone:
            names = ", ".join(alone[:NAMED_AT_MOST]) + (", ..." if len(alone) > NAMED_AT_MOST else "")
            say(f"{len(alone)} of {folder} without a partner: {names}", file=sys.stderr)
    for one in measured:
        if one.reason:
            say(f"{one.pair.name}: {one.reason}", file=sys.stderr)
    first = {note: one.pair.name for one in reversed(measured) for note in one.notes}
    for note, name in sorted(first.items()):
        say(f"{name}: {note}", file=sys.stderr)


def _print_json(found: "MatchedFolders", measured: "Sequence[MeasuredPair]") -> None:
    """Print JSON; a measure without a number (PSNR of identical images, what is not defined) is null."""
    import json

    from detattack.metrics.image_pairs import average_quality

    summary = {
        "images": len(measured),
        "measured": sum(one.quality is not None for one in measured),
        "errors": sum(one.quality is None for one in measured),
        "only_a": found.only_first,
        "only_b": found.only_second,
        "mean": average_quality(measured, fmean).as_json(),
        "median": average_quality(measured, median).as_json(),
    }
    print(json.dumps({"summary": summary, "images": [_row(one) for one in measured]}, allow_nan=False))


def _row(one: "MeasuredPair") -> dict[str, Any]:
    names = {"image": one.pair.name, "a": str(one.pair.original), "b": str(one.pair.other)}
    return {**names, **(one.quality.as_json() if one.quality else {"error": one.reason})}


def _csv(names: list[str], measured: "Sequence[MeasuredPair]") -> str:
    """Write a column a measure, empty where it is not defined, and one for what went wrong."""
    from detattack.core.csv_text import csv_lines
    from detattack.metrics.image_quality import ImageQuality

    rows: list[list[Any]] = [["image", *names, "error"]]
    for one in measured:
        found = one.quality or ImageQuality()
        values = [found.get(name, math.nan) for name in names]
        rows.append([one.pair.name, *("" if math.isnan(value) else value for value in values), one.reason])
    return csv_lines(rows)


def _print_table(names: list[str], measured: "Sequence[MeasuredPair]") -> None:
    from rich.table import Table
    from rich.text import Text

    from detattack.cli.tables import PIPED_WIDTH
    from detattack.cli.terminal import Terminal, shown
    from detattack.metrics.image_pairs import average_quality
    from detattack.metrics.image_quality import MEASURES

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("image", overflow="fold", min_width=10)
    for name in names:
        table.add_column(MEASURES[name].label, justify="right", no_wrap=True)
    done = [one for one in measured if one.quality]
    rows = [(one.pair.name, one.quality) for one in measured if one.quality]
    if len(rows) > 1:
        rows += [("mean", average_quality(done, fmean)), ("median", average_quality(done, median))]
    for name, quality in rows:
        table.add_row(Text(shown(name)), *(MEASURES[name].text(quality[name]) for name in names))
    # a table that is piped has no width to keep to
    Terminal(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
    errors = len(measured) - len(done)
    print(f"{len(done)} measured" + (f", {errors} not" if errors else ""))
