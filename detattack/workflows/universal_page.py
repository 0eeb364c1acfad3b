"""The page of a universal change: what it does to images that it was not found on, the change, and its search."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from detattack.core.errors import InputError
from detattack.core.files import write_text_atomic
from detattack.core.wording import counted
from detattack.report.page import PAGE
from detattack.report.pictures import inlined
from detattack.report.plots import Axis, Plot, Series, line_chart
from detattack.report.reading import read_json
from detattack.report.sections_page import Cell, Grid, Line, Page, Section, render
from detattack.tasks.detection.universal import FACTS, PICTURE
from detattack.workflows.universal import RESULT
from detattack.workflows.universal_rows import HEADINGS, Row, rows_of

MOST_POINTS = 200
"""Of the curve of the search; each is the mean of some steps."""


def write_universal_page(folder: Path) -> Path:
    """Write `report.html` of a finished search, one file with its pictures inside; return its path.

    Raises `InputError` for a folder whose search is not finished, or damaged.
    """
    if not (folder / RESULT).is_file():
        raise InputError(f"{folder}: the search is not finished; --resume goes on")
    result, facts = read_json(folder / RESULT, dict), read_json(folder / FACTS, dict)
    try:
        page = _page(folder, result, facts)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: {RESULT} or {FACTS} is damaged ({error!r})") from error
    write_text_atomic(folder / PAGE, render(page))
    return folder / PAGE


def _page(folder: Path, result: Mapping[str, Any], facts: Mapping[str, Any]) -> Page:
    what, on = result["change_is"], result["on"]
    told = [
        f"model {facts['model']}",
        f"on {'all objects' if on == 'all' else on}",
        f"found on {counted(result['training_images'], 'image')}",
        f"judged on {counted(result['judged_images'], 'other')}",
    ]
    notes = [
        "Missed: of the objects that are found untouched, those that are not found any more. Broken: of the images "
        "with such an object, those that have none left. Noise is as large as the change."
    ]
    figures = [_picture(path.stem, [("", path)]) for path in sorted((folder / "figures").glob("*.png"))]
    sections = [
        Section("Result", tables=[_table(result)]),
        Section(
            "Change", plots=_search(facts["losses"]), pictures=[_picture(what, [("change.png", folder / PICTURE)])]
        ),
        Section("Images", "Judged images, untouched and changed, and the difference.", pictures=figures, wide=True),
    ]
    shown = [one for one in sections if one.tables or one.pictures]
    return Page("One change for many images", "universal", told, shown, notes)


def _table(result: Mapping[str, Any]) -> Grid:
    """Compare untouched images with changed ones, and with noise."""
    return Grid(HEADINGS, [_line(row) for row in rows_of(result)])


def _line(row: Row) -> Line:
    name, *texts = row.texts
    _, *values = row.values.values()
    shown = [Cell(text, value) for text, value in zip(texts, values, strict=True)]
    return Line([Cell(name), *shown])


def _search(losses: Sequence[float]) -> list[Plot]:
    """Draw the loss by step."""
    size = math.ceil(len(losses) / MOST_POINTS)
    parts = [(start, losses[start : start + size]) for start in range(0, len(losses), size)]
    points = [(float(start + len(part)), mean(part)) for start, part in parts]
    chart = line_chart([Series("s0", "loss", points)], Axis("step", 0, len(losses), whole=True), Axis("loss"))
    return [Plot("Search", chart, "Mean loss of a minibatch; it rests at 0 at objects that are missed.")]


def _picture(title: str, files: Sequence[tuple[str, Path]]) -> dict[str, Any]:
    """Put pictures beside each other; one that is gone is left out."""
    shown = [{"text": text, "data": data} for text, path in files if (data := inlined(path))]
    return {"title": title, "images": shown, "caption": ""}
