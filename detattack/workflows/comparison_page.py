"""The page of a comparison, of methods or of budgets: their table, their curves, and each image under every one.

It is made from what the comparison and its run folders hold; a page of each run stands behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.files import is_plain, swept, write_text_atomic
from detattack.core.wording import counted
from detattack.engine.budget import LABELS, UNITS, parse_budgets
from detattack.report.method_titles import method_title
from detattack.report.page import (
    ALONE,
    PAGE,
    SKIPPED,
    Content,
    inside,
    short_name,
    significant,
    status_name,
    write_page,
)
from detattack.report.pictures import Told
from detattack.report.plots import Axis, Curve, Plot, Series, line_chart
from detattack.report.reading import RunData, read_derived
from detattack.report.robustness import CURVE
from detattack.report.sections_page import COLORS, Cell, Grid, Line, Page, Section, render
from detattack.runs.manifest import COMPARISON, MANIFEST, task_in
from detattack.runs.record import STATUSES
from detattack.tasks.base import Task
from detattack.tasks.columns import Column
from detattack.tasks.registry import find_task
from detattack.workflows.budgets import columns_of

MOST_SIDE_BY_SIDE = 300
"""Images that are shown under each method; of more, an even sample."""
MOST_INSIDE = 60
"""The same in a page that is one file."""
OF_IMAGE = ("i", "n", "w", "h", "z")
"""What a row of an image says of it whatever the method (`image_row`)."""
OF_METHOD = ("s", "p", "k", "q", "y", "a", "b", "l", "r")


@dataclass(frozen=True, eq=False)
class _Run:
    """A run of the comparison: its name in the table, its folder in that of the comparison, and what its page tells."""

    name: str
    folder: str
    row: Mapping[str, Any]
    data: RunData[Any]
    content: Content
    images: Mapping[int, Mapping[str, Any]]


def is_comparison(path: Path) -> bool:
    """Return whether a folder is that of a comparison of methods or budgets, and not a run."""
    return not (path / MANIFEST).is_file() and any((path / name).is_file() for name in (COMPARISON, CURVE))


def write_comparison_page(path: Path, told: Told = lambda done, total: None, standalone: bool = False) -> Path:
    """Write the page of a comparison, and that of each of its runs; return the page's path.

    - told, standalone: as of `write_report`

    Raises `InputError` where the comparison is damaged, run folders are missing, or it cannot be written.
    """
    found, rows = _rows(path)
    missing = [folder for _, folder, _ in rows if not (path / folder / MANIFEST).is_file()]
    if missing or not rows:
        raise InputError(f"{path}: run folders of the comparison are missing ({', '.join(missing) or 'all'})")
    task = find_task(task_in(path / rows[0][1]))
    runs = [_run(path, task, *row, told) for row in rows]
    out = path / (ALONE if standalone else PAGE)
    try:
        page = _page(path, task, runs, found, standalone)
        with swept(path):
            write_text_atomic(out, render(page))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    # A comparison may come from anybody, as its runs.
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged, its table does not hold what it ought to ({error!r})") from error
    return out


def _rows(path: Path) -> tuple[dict[str, Any], list[tuple[str, str, dict[str, Any]]]]:
    """Read the table: what its file holds, and name, folder and cells of each row."""
    file = COMPARISON if (path / COMPARISON).is_file() else CURVE
    found = read_derived(path / file, dict)
    try:
        if file == COMPARISON:
            rows = [(method_title(row["method"]), row["method"], row) for row in found["methods"]]
        else:
            several = len({row["method"] for row in found["budgets"]}) > 1
            rows = [_budget_row(row, several) for row in found["budgets"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path / file}: not the table of a comparison ({error!r})") from error
    if not all(is_plain(part) for _, folder, _ in rows for part in folder.split("/")):
        raise InputError(f"{path / file}: the name of a method is no name of a folder")
    return found, rows


def _budget_row(row: dict[str, Any], several: bool) -> tuple[str, str, dict[str, Any]]:
    (budget,) = parse_budgets(row["budget"])
    if not several:
        return budget.label, budget.folder, row
    return f"{method_title(row['method'])}, {budget.label}", f"{row['method']}/{budget.folder}", row


def _run(path: Path, task: Task[Any, Any, Any], name: str, folder: str, row: dict[str, Any], told: Told) -> _Run:
    """Write the page of a run, and keep what the comparison shows of it."""
    seen: list[tuple[RunData[Any], Content]] = []
    images: dict[int, Mapping[str, Any]] = {}

    def content(run: Any, pictures: Any) -> Content:
        made = task.page_content(run, pictures)
        seen.append((run, made))
        shown = {r.id for r in _even(run.records, MOST_SIDE_BY_SIDE)}

        def kept(image: dict[str, Any]) -> dict[str, Any]:
            if (number := int(image["i"])) in shown:
                images[number] = image
            return image

        return replace(made, images=map(kept, made.images))

    write_page(path / folder, task.read_run, content, told)
    ((run, made),) = seen
    return _Run(name, folder, row, run, made, images)


def _page(
    path: Path, task: Task[Any, Any, Any], runs: Sequence[_Run], found: Mapping[str, Any], standalone: bool
) -> Page:
    first = runs[0]
    config = first.data.config
    each = "method" if "methods" in found else "budget"
    columns = task.columns if "methods" in found else columns_of(task, len({run.row["method"] for run in runs}))
    facts = [
        counted(len(runs), each),
        f"against {short_name(str(config.get('model', 'an unknown model')))}",
        *first.content.facts[1:],
        counted(len(first.data.records), "image"),
    ]
    sections = [
        Section(f"{each.title()}s", tables=[_table(runs, columns, standalone)]),
        Section("Curves", plots=_curves(runs) if "methods" in found else _against_budget(task, runs)),
        Section("Differences", tables=_differences(found, runs)),
        Section("Skipped", tables=_skipped(first)),
    ]
    shown = [one for one in sections if one.tables or one.plots]
    notes = [f"{term} {asked}" for term, asked in first.content.questions]
    return Page(first.content.title, "comparison", facts, shown, notes, viewer=_viewer(path, runs, standalone, each))


def _table(runs: Sequence[_Run], columns: Sequence[Column], standalone: bool) -> Grid:
    bounds = {"success_low", "success_high"}
    shown = [column for column in columns[1:] if column.key not in {*bounds, "budget"}]
    lines = []
    for number, run in enumerate(runs):
        link = "" if standalone else f"{run.folder}/{PAGE}"
        cells = [_cell(column, run.row) for column in shown]
        lines.append(Line([Cell(run.name, link=link, kind=number % COLORS), *cells]))
    after = "Medians over the successes. Below the success rate its 95% interval." if bounds & set(runs[0].row) else ""
    head = (columns[0].heading, *("ASR" if column.key == "success_rate" else column.heading for column in shown))
    return Grid(head, lines, after=after)


def _cell(column: Column, row: Mapping[str, Any]) -> Cell:
    value = row[column.key]
    low, high = row.get("success_low"), row.get("success_high")
    note = f"{low:.0%} to {high:.0%}" if column.key == "success_rate" and low is not None and high is not None else ""
    if not isinstance(value, int | float):
        return Cell("–", None) if value is None else Cell(str(value))
    text = format(value, column.form) if column.form.endswith(("%", "d")) else significant(value)
    return Cell(text, value, note)


def _curves(runs: Sequence[_Run]) -> list[Plot]:
    """Draw the curves of one title together, by their true steps."""
    found: dict[str, list[tuple[int, Curve]]] = {}
    for number, run in enumerate(runs):
        for curve in run.content.curves:
            found.setdefault(curve.title, []).append((number, curve))
    return [_together(title, curves, runs) for title, curves in found.items()]


def _together(title: str, curves: Sequence[tuple[int, Curve]], runs: Sequence[_Run]) -> Plot:
    most = max(curve.points[-1][0] for _, curve in curves)
    series = [
        Series(f"s{n % COLORS}", runs[n].name, [*one.points, (most, one.points[-1][1])], steps=True)
        for n, one in curves
    ]
    first = curves[0][1]
    legend = [(one.kind, one.name) for one in series]
    scored = "; ".join(f"{runs[n].name} at {one.scored_at}" for n, one in curves if one.scored_at)
    caption = f"{first.caption} Scored: {scored}." if scored else first.caption
    return Plot(title, line_chart(series, first.x, first.y), caption, legend)


def _against_budget(task: Task[Any, Any, Any], runs: Sequence[_Run]) -> list[Plot]:
    """Draw what is left of the score against the budget, a line a method; nothing where runs differ in the norm."""
    drawn = next((one for one in task.curves if any(run.row[one.key] is not None for run in runs)), None)
    budgets = [parse_budgets(run.row["budget"])[0] for run in runs]
    if drawn is None or len({budget.norm for budget in budgets}) > 1:
        return []
    points: dict[str, list[tuple[float, float]]] = {}
    for run, budget in zip(runs, budgets, strict=True):
        start = [(0.0, run.row[drawn.clean])] if drawn.clean else []
        if run.row[drawn.key] is not None:
            points.setdefault(run.row["method"], start).append((budget.size, run.row[drawn.key]))
    series = [
        Series(f"s{n % COLORS}", method_title(name), line, steps=True, dots=True)
        for n, (name, line) in enumerate(points.items())
    ]
    norm = budgets[0].norm
    chart = line_chart(series, Axis(f"budget, {LABELS[norm]} ({UNITS[norm]})"), Axis(drawn.label, 0))
    text = "Each point is a run that spends this budget on every image; nothing is known between two budgets."
    return [Plot("Against the budget", chart, text, [(one.kind, one.name) for one in series])]


def _differences(found: Mapping[str, Any], runs: Sequence[_Run]) -> list[Grid]:
    """Show each method against the first, image by image."""
    paired = found.get("differences") or {}
    if not paired:
        return []
    names = {run.folder: run.name for run in runs}
    measures = list(next(iter(paired.values())))
    lines = [
        Line([Cell(names.get(name, name)), *(_difference(one[measure]) for measure in measures)])
        for name, one in paired.items()
    ]
    after = (
        f"Against {names.get(found['first'], found['first'])}, image by image, where both succeed (success: all "
        "images): mean, and below it the 95% bootstrap interval."
    )
    return [Grid(("method", *map(_heading, measures)), lines, after=after)]


def _heading(measure: str) -> str:
    return {"k": "K", "l2": "L2", "linf": "L∞", "psnr": "PSNR", "ssim": "SSIM"}.get(measure, measure)


def _difference(one: Mapping[str, Any]) -> Cell:
    if one["mean"] is None:
        return Cell("–", None)
    low, high = one["interval"]
    return Cell(f"{one['mean']:+.3g}", one["mean"], f"{low:+.3g} to {high:+.3g}")


def _skipped(run: _Run) -> list[Grid]:
    """List the images that no method attacks, and why."""
    skipped = [r for r in run.data.records if r.status in SKIPPED and not r.quality]
    lines = [Line([Cell(short_name(r.source)), Cell(r.reason or SKIPPED[r.status])]) for r in skipped]
    return [Grid(("image", "why"), lines, shape="words tall")] if lines else []


def _viewer(path: Path, runs: Sequence[_Run], standalone: bool, each: str) -> dict[str, Any]:
    """Tell the page's script of the images and of what each method or budget made of them."""
    ids = list(dict.fromkeys(i for run in runs for i in sorted(run.images)))
    chosen = _even(ids, MOST_INSIDE if standalone else MOST_SIDE_BY_SIDE)
    known = runs[0].content.data
    told = {key: known.get(key, []) for key in ("classes", "colors", "objects", "object_colors", "about")}
    return {
        **told,
        "each": each,
        "tau": known.get("tau", 0),
        "boxes": runs[0].content.boxes,
        "spends": runs[0].data.budget is not None,
        "said": [status_name(runs[0].data, status) for status in STATUSES],
        "alone": len(chosen) if standalone else None,
        "of": len(runs[0].data.records),
        "methods": [{"name": run.name, "folder": run.folder} for run in runs],
        "images": [_image(path, i, runs, standalone) for i in chosen],
    }


def _image(path: Path, number: int, runs: Sequence[_Run], standalone: bool) -> dict[str, Any]:
    rows = [run.images.get(number) for run in runs]
    of_image = next(row for row in rows if row)
    methods = []
    for place, (run, row) in enumerate(zip(runs, rows, strict=True)):
        one = {key: row[key] for key in OF_METHOD if key in row} if row else None
        if row and one is not None and standalone:
            pictures = inside(path / run.folder, dict(row))
            one["v"] = {view: uri for view, uri in pictures.items() if view != "before" or place == 0}
        methods.append(one)
    return {key: of_image[key] for key in OF_IMAGE if key in of_image} | {"m": methods}


def _even(items: Sequence[Any], most: int) -> Sequence[Any]:
    """Return at most so many of the items, evenly chosen."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]
