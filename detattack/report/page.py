"""`report.html`: one page that holds a whole run, rebuilt from the run folder at any time, without the model.

Styles, script and data are inside the page, pictures beside it in `thumbs/`, `images/` and `heatmaps/`. The page's
content security policy lets nothing else in: no network, no script but ours (by its hash), no inline handlers.
Names that come from files and annotations are data: escaped in the HTML, and set as text by the script.

What the pages of all tasks share is here; what a task tells of its run is the `Content` of its `report_page.py`, or
of `common_page.py`.
"""

import base64
import hashlib
import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any, TypeVar

from jinja2 import BaseLoader, Environment, StrictUndefined, Template
from markupsafe import Markup

from detattack.core.errors import InputError
from detattack.core.files import swept, write_chunks_atomic
from detattack.core.wording import counted
from detattack.metrics.image_quality import MEASURES, quick_measures
from detattack.metrics.rates import wilson_interval
from detattack.report.measures import CHANGE, Spread, spread
from detattack.report.method_titles import method_title
from detattack.report.pictures import THUMBS, Pictures, Told, inlined, make_pictures
from detattack.report.plots import Curve, Plot
from detattack.report.reading import RunData
from detattack.runs.record import ATTACKED, BROKEN, STATUSES, BaseRecord

PAGE, ALONE = "report.html", "report-standalone.html"
RUN_SCRIPTS = ("elements.js", "plots.js", "report.js")
"""What the page of a run runs."""
MOST_INSIDE = 200
"""Images whose pictures are in a page that is one file; of more, an even sample."""
TRACE_POINTS = 64
MOST_ERRORS = 200
MOST_NOTES = 20
IN_ROWS = ("l1", "l2", "linf", "psnr", "ssim", "rms")
"""The measures that the page's script knows of each image, in its order."""
COSTS = (("forwards", "forward passes"), ("backwards", "backward passes"), ("seconds", "seconds"))
SKIPPED = {"nothing": "nothing to attack", "already": "already holds"}
Run = TypeVar("Run", bound=RunData[Any])


@dataclass(frozen=True)
class Card:
    """A number at the top of the page. rate: low, value and high of an interval, drawn as a bar."""

    label: str
    value: str
    note: str = ""
    rate: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page.

    - rows: their cells, of which the first names the row.
    - about, after: lines above and below.
    - shape: `narrow`, `medium`, `tall` or `words`, as the style knows them.
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    about: str = ""
    after: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Content:
    """What a task tells of its run, beside what is told of every run.

    - facts: under the title.
    - questions: terms, and what each asks.
    - data: what the page's script knows, beside the images.
    - images: a row each (`image_row`), taken one by one as the page is written.
    - boxes: whether there are any to draw.
    - curves: against the size of a change; a comparison draws those of its methods together.
    """

    title: str
    facts: Sequence[str]
    questions: Sequence[tuple[str, str]]
    cards: Sequence[Card]
    plots: Sequence[Plot]
    tables: Sequence[Table]
    data: dict[str, Any]
    images: Iterable[dict[str, Any]]
    boxes: bool = False
    warning: str = ""
    curves: Sequence[Curve] = ()


def write_page(
    path: Path,
    read: Callable[[Path], Run],
    content: Callable[[Run, dict[int, Pictures]], Content],
    told: Told,
    standalone: bool = False,
) -> Path:
    """Write `report.html` and `thumbs/` of a run folder; return the page's path.

    - read: of the run's task, reads the folder.
    - content: of the run's task, tells of the run; its second argument is what there is to see, by image id.
    - told: called as pictures are made.
    - standalone: write `report-standalone.html` instead, which has its pictures inside.

    Raises `InputError` for a folder that holds no run of the task, has lost its pictures, is damaged, or cannot be
    written.
    """
    run = read(path)
    if any(record.digest for record in run.records) and not (path / "images").is_dir():
        raise InputError(f"{path}: the pictures are missing (no folder images); a page needs the whole run folder")
    out = path / (ALONE if standalone else PAGE)
    try:
        with swept(path):
            pictures = make_pictures(path, run.records, told, run.manifest)
            told_of = content(run, pictures)
            page = render_page(run, _with_pictures(run, told_of) if standalone else told_of)
            # A file's name may hold bytes that are no text.
            write_chunks_atomic(out, (piece.encode("utf-8", "replace") for piece in page))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    # A run folder may come from anybody: a value that is not what its name says can surface anywhere.
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: damaged, a file of the run does not hold what it ought to ({error!r})") from error
    return out


def _with_pictures(run: RunData[Any], content: Content) -> Content:
    """Put pictures into the rows of the images, of as many as one file may hold; no link leads out of that file."""
    count = min(MOST_INSIDE, len(run.records))
    chosen = {str(run.records[i * len(run.records) // count].id) for i in range(count)}
    images = (row | {"v": inside(run.path, row)} if row["i"] in chosen else row for row in content.images)
    plots = [replace(plot, links=[]) for plot in content.plots]
    return replace(content, data={**content.data, "alone": count}, images=images, plots=plots)


def inside(path: Path, row: dict[str, Any]) -> dict[str, str]:
    """Return the pictures of an image of a run as data URIs, by what they show. row: as of `image_row`."""
    thumbs, name = path / THUMBS, f"{row['n']}.png"
    files = {
        "before": thumbs / f"{row['i']}-original.webp",
        "after": path / "images" / name,
        "heat": thumbs / f"{row['i']}-scaled.webp",
        "fixed": path / "heatmaps" / name,
    }
    found = {view: inlined(file) for view, file in files.items() if file.is_file()}
    return {view: picture for view, picture in found.items() if picture}


def render_page(run: RunData[Any], content: Content) -> Iterator[str]:
    """Render the page, piece by piece."""
    style, script = Markup(template("report.css")), Markup("\n".join(map(template, RUN_SCRIPTS)))
    said = [status_name(run, status) for status in STATUSES]
    return page_template("report.html.j2").generate(
        policy=policy(style, script),
        style=style,
        script=script,
        data=as_script(
            {
                "statuses": list(STATUSES),
                "said": said,
                "spends": bool(run.budget),
                "numbers": [plot.svg.numbers for plot in content.plots],
                **content.data,
            }
        ),
        images=map(as_script, content.images),
        run=run,
        content=content,
        cost=_cost(run.records),
        counts=[
            (status, name, sum(record.status == status for record in run.records))
            for status, name in zip(STATUSES, said, strict=True)
        ],
        tables=[*_distances(run), *content.tables, *_skipped(run.records), *_errors(run.records)],
        method=method_title(str((run.config.get("attack") or {}).get("name", "unknown method"))),
        model=short_name(str(run.config.get("model", "an unknown model"))),
        notes=_notes(run),
        settings=_settings(run),
    )


def image_row(record: BaseRecord, pictures: Pictures, **more: Any) -> dict[str, Any]:
    """List what the page's script knows of an image.

    more: what a task adds, left out where it is empty: `g` its goal where it is not the run's, `e` facts, as pairs of
    name and text, and what the script's parts for the task read.
    """
    quality = record.quality
    row: dict[str, Any] = {
        "i": str(record.id),  # a script has no integers above 2⁵³
        "n": record.stem,
        "s": STATUSES.index(record.status),
        "w": record.width,
        "h": record.height,
        "p": pictures.after + 2 * bool(pictures.heat) + 4 * pictures.original + 8 * pictures.untouched,
        "u": short_name(record.source),
    }
    if quality:
        row |= {
            "k": record.k,
            "c": [_short(record.confidence_before, 4), _short(record.confidence_after, 4)],
            "q": [_short(quality.get(name), 6) for name in IN_ROWS],
            "f": [record.forwards, record.backwards, _short(record.seconds, 2)],
            "t": _trace(record.trace.get("confidence", [])),
            "d": max(0, len(record.trace.get("confidence", [])) - 1),
        }
    more |= {"y": pictures.heat, "r": record.reason, "o": list(record.notes), "m": _disagrees(record)}
    return row | {key: value for key, value in more.items() if value}


def question_of(run: RunData[Any]) -> str:
    """Name what the run asks: `first success`, or the budget that it spends."""
    return f"budget {run.budget.label}, the worst image kept" if run.budget else "first success"


def questions_of(run: RunData[Any], reached: str) -> list[tuple[str, str]]:
    """Say what the run asks. reached: what is true where its goal is reached, a sentence without its start."""
    if run.budget is None:
        return [("First success", f"asks how small a change it takes until {reached}")]
    spent = (
        "asks how wrong the output gets if all of it is spent on each image: of the images that the attack tried, the "
        "one that does most harm is kept."
    )
    return [("Budget", spent), ("Broken", f"means that {reached}")]


def success_card(run: RunData[Any]) -> Card:
    """Show the share of the images on which the goal is reached, with its 95% interval."""
    wins, tried = (sum(r.status in which for r in run.records) for which in (("success",), ATTACKED))
    label, of = ("Broken", "not broken untouched") if run.budget else ("Success rate", "attacked")
    interval = wilson_interval(wins, tried)
    if interval is None:
        return Card(label, "–", "no image was attacked")
    low, high = interval
    note = f"{wins} of {tried} {of}, 95% interval {100 * low:.1f}–{100 * high:.1f}%"
    return Card(label, f"{100 * wins / tried:.1f}%", note, (low, wins / tried, high))


def distance_cards(run: RunData[Any]) -> list[Card]:
    """Show medians over the successes; of a run that spends a budget, means over all attacked images."""
    if run.budget:
        return _change_cards(run.attacked)
    wins = [r for r in run.records if r.status == "success"]
    cards = [Card("Median K", _median([r.k for r in wins], "g"), "first iteration that succeeds")]
    for name, about in (("l2", "on values 0–1"), ("psnr", MEASURES["psnr"].unit), ("ssim", "1 is identical")):
        one = MEASURES[name]
        cards.append(Card(f"Median {one.label}", _median([r.quality.get(name) for r in wins], one.format), about))
    return cards


def _change_cards(attacked: Sequence[BaseRecord]) -> list[Card]:
    of_all = f"all {counted(len(attacked), 'attacked image')}"
    cards = []
    for name in CHANGE:
        one, known = MEASURES[name], [v for r in attacked if (v := r.quality.get(name)) is not None]
        mean = _mean(known)
        unit = f"{255 * mean:.3g}/255, " if name == "linf" and mean is not None else f"{one.unit}, " if one.unit else ""
        # The PSNR of an image that did not change is infinite.
        over = of_all if len(known) == len(attacked) else f"{len(known)} of {counted(len(attacked), 'attacked image')}"
        cards.append(Card(f"Mean {one.label}", "–" if mean is None else format(mean, one.format), unit + over))
    passes = _mean([r.backwards for r in attacked])
    return [*cards, Card("Backward passes", "–" if passes is None else f"{passes:.1f}", f"mean, {of_all}")]


def rate_cells(successes: int, trials: int) -> tuple[str, str]:
    """Write a success rate and its 95% interval as cells of a table."""
    interval = wilson_interval(successes, trials)
    if interval is None:
        return "–", "–"
    return f"{100 * successes / trials:.1f}%", f"{100 * interval[0]:.0f}–{100 * interval[1]:.0f}%"


def judged_on(run: RunData[Any]) -> str:
    """Say what success is judged on."""
    floats = (run.config.get("attack") or {}).get("levels", 256) is None
    return "judged on floats" if floats else "judged on the saved 8-bit files"


def short_name(name: str) -> str:
    """Shorten the path of a file to the file's name; what is no path (a model, a rendered scene) stays."""
    last = PurePath(name).name
    return last if name.startswith(("/", ".", "~")) or ".py" in last else name


def _disagrees(record: BaseRecord) -> bool:
    """Whether the floats and the file differ in their verdict."""
    return record.status in ("success", "failure") and record.file_success != (record.status == "success")


def _trace(values: list[float]) -> list[int]:
    count = min(len(values), TRACE_POINTS)
    places = [round(i * (len(values) - 1) / max(1, count - 1)) for i in range(count)]
    return [round(1000 * values[place]) for place in places]


def _short(value: float | None, digits: int) -> float | None:
    """Round a number to so many significant digits; None where there is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def as_script(data: Any) -> Markup:
    """Write JSON that a `<script>` element can hold, whatever is in it: nothing in it looks like a tag."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def policy(style: str, script: str) -> str:
    """Write the content security policy of a page: its own style and script, and pictures, and nothing else."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        "default-src 'none'; img-src 'self' file: data:; "
        f"style-src {source(style)}; script-src {source(script)}; base-uri 'none'; form-action 'none'"
    )


def page_template(name: str) -> Template:
    """Compile a page of `templates/`; what is put into it is escaped, and nothing may be missing."""
    environment = Environment(
        loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = counted
    return environment.from_string(template(name))


def template(name: str) -> str:
    """Read a file of `templates/`."""
    return (files("detattack.report") / "templates" / name).read_text(encoding="utf-8").strip()


def _cost(records: Sequence[BaseRecord]) -> str:
    forwards = [r.forwards for r in records if r.quality]
    mean = f", {statistics.fmean(forwards):.1f} forward passes per attacked image" if forwards else ""
    return _duration(sum(r.seconds for r in records)) + mean


def _median(values: Iterable[float | None], form: str) -> str:
    known = [v for v in values if v is not None]
    return format(statistics.median(known), form) if known else "–"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if known else None


def status_name(run: RunData[Any], status: str) -> str:
    """Say what a status means to the reader of the page."""
    if run.budget and (status not in SKIPPED or any(record.status == status for record in run.attacked)):
        return BROKEN.get(status, status)
    return f"skipped: {SKIPPED[status]}" if status in SKIPPED else status


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _distances(run: RunData[Any]) -> list[Table]:
    attacked = run.attacked
    shown = attacked if run.budget else [r for r in run.records if r.status == "success"]
    names = [*quick_measures(), *sorted({name for r in shown for name in r.quality} - set(quick_measures()))]
    found = [("iteration of the worst" if run.budget else "K", spread([r.k for r in shown]))]
    found += [(_heading(name), spread([r.quality.get(name) for r in shown])) for name in names]
    found += [(label, spread([float(getattr(r, name)) for r in attacked])) for name, label in COSTS]
    rows = [[label, *_spread_cells(values)] for label, values in found if values]
    head = ("measure", "images", "minimum", "lower quartile", "median", "upper quartile", "maximum")
    over = "all attacked images, broken or not" if run.budget else "the successes"
    about = f"Distances and similarities over {over}, on values 0–1; cost over all attacked images."
    return [Table("Distances and cost", head, rows, about)] if rows else []


def _heading(name: str) -> str:
    """Of a measure; its name where it was registered elsewhere, by a plugin that is not here."""
    return MEASURES[name].heading if name in MEASURES else name


def _spread_cells(values: Spread) -> list[str]:
    numbers = (values.least, values.low, values.middle, values.high, values.most)
    return [str(values.count), *map(significant, numbers)]


def significant(value: float) -> str:
    """Write a number to three significant digits; what is nearly 1, by its distance from 1."""
    if 0.99 < value < 1:
        return f"{1 - float(f'{1 - value:.2g}'):.9g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _skipped(records: Sequence[BaseRecord]) -> list[Table]:
    """List the images that were left as they are, and why."""
    skipped = [r for r in records if r.status in SKIPPED and not r.quality]
    rows = [[short_name(r.source), r.reason or SKIPPED[r.status]] for r in skipped]
    return _listed("Skipped images", ("image", "why"), rows)


def _errors(records: Sequence[BaseRecord]) -> list[Table]:
    rows = [[short_name(r.source), r.reason] for r in records if r.status == "error"]
    return _listed("Errors", ("image", "reason"), rows)


def _listed(title: str, head: tuple[str, str], rows: Sequence[Sequence[str]]) -> list[Table]:
    more = len(rows) - MOST_ERRORS
    after = f"{more} more are in the gallery." if more > 0 else ""
    return [Table(title, head, rows[:MOST_ERRORS], after=after, shape="tall words")] if rows else []


def _notes(run: RunData[Any]) -> list[str]:
    """List what was mended or left out of the data set, and converted as images were read."""
    converted = Counter(note for record in run.records for note in record.notes).most_common(MOST_NOTES)
    images = (f"{note}: {counted(count, 'image')}" for note, count in converted)
    return [*map(str, run.manifest.get("notes") or []), *images]


def _settings(run: RunData[Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    config = {key: value for key, value in run.config.items() if key != "attack"}
    manifest = {k: v for k, v in run.manifest.items() if not isinstance(v, dict | list)}
    folders = {source.parent for r in run.records if (source := PurePath(r.source)).is_absolute()}
    config |= {"images in": os.path.commonpath(folders)} if folders else {}
    groups = [
        ("Config", config),
        ("Attack", run.config.get("attack") or {}),
        ("Made with", {**manifest, **(run.manifest.get("versions") or {}), **(run.manifest.get("environment") or {})}),
    ]
    return [(name, [(k, _text(v)) for k, v in values.items()]) for name, values in groups if values]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " – ".join(map(_text, value))
    return "–" if value is None else str(value)
