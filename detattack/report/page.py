"""`report.html`: one page that holds a whole run, rebuilt from the run folder at any time, without the model.

Styles, script and data are inside the page, pictures beside it in `thumbs/`, `images/` and `heatmaps/`. The page's
content security policy lets nothing else in: no network, no script but ours (by its hash), no inline handlers.
Names that come from files and annotations are data: escaped in the HTML, and set as text by the script.
"""

import base64
import hashlib
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from detattack.errors import InputError
from detattack.files import swept, write_text_atomic
from detattack.job import Record
from detattack.report.charts import charts, class_precision
from detattack.report.curves import Precision, mean_ap
from detattack.report.figures import class_color
from detattack.report.measures import ClassRow, Spread, by_class, spread
from detattack.report.pictures import Pictures, make_pictures
from detattack.report.reading import RunData, read_run
from detattack.scores import ATTACKED, STATUSES, parity_problem, wilson_interval

PAGE = "report.html"
MOST_BOXES = 150_000
"""Boxes in the page at most; a run with more is shown from a higher score on, and the page says so."""
FLOORS = (0.1, 0.2, 0.3, 0.4, 0.5)
TRACE_POINTS = 64
DISTANCES = (("k", "K"), ("l1", "L1"), ("l2", "L2"), ("linf", "L∞"), ("psnr", "PSNR, dB"), ("ssim", "SSIM"))
COSTS = (("forwards", "image-forwards"), ("backwards", "image-backwards"), ("seconds", "seconds"))


@dataclass(frozen=True)
class Card:
    """A number at the top of the page. rate: low, value and high of an interval, drawn as a bar."""

    label: str
    value: str
    note: str = ""
    rate: tuple[float, float, float] | None = None


def write_report(path: Path, told: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Writes `report.html` and `thumbs/` of a run folder; the page's path.

    told: called with how many images have their pictures, and how many there are. Raises `InputError`.
    """
    run = read_run(path)
    try:
        with swept(path):
            page = render_page(run, make_pictures(path, run.records, told))
            write_text_atomic(path / PAGE, page)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    # A run folder may come from anybody: a value that is not what its name says can surface anywhere.
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: damaged, a file of the run does not hold what it ought to ({error!r})") from error
    return path / PAGE


def render_page(run: RunData, pictures: dict[int, Pictures]) -> str:
    """The page as text."""
    precision = _precision(run)
    rows = by_class(run)
    style, script = (Markup(_template(name)) for name in ("report.css", "report.js"))
    environment = Environment(
        loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.from_string(_template("report.html.j2")).render(
        policy=_policy(style, script),
        style=style,
        script=script,
        data=Markup(_as_script(page_data(run, pictures))),
        title=_title(run),
        run=run,
        unfinished=not run.summary,
        parity=parity_problem(run.summary.get("ap")),
        cost=_cost(run),
        cards=_cards(run, precision),
        counts=[(status, _count(run, status)) for status in STATUSES],
        plots=charts(run, rows, precision),
        classes=_class_table(run, rows, precision),
        annotated=precision is not None,
        spreads=_spreads(run),
        figures=_figures(run),
        collateral=_collateral(run),
        errors=[r for r in run.records if r.status == "error"],
        settings=_settings(run),
    )
    return text.encode("utf-8", "replace").decode()  # a file's name may hold bytes that are no text


def page_data(run: RunData, pictures: dict[int, Pictures]) -> dict[str, Any]:
    """What the page's script knows: compact, a row an image."""
    floor = shown_floor(run)
    return {
        "tau": run.tau,
        "floor": floor,
        "statuses": list(STATUSES),
        "classes": run.names,
        "colors": [_hex(class_color(name)) for name in run.names],
        "goal": run.config.get("goal", ""),
        "images": [_image(record, pictures.get(record.id, Pictures()), floor, run) for record in run.records],
    }


def shown_floor(run: RunData) -> float:
    """The score from which on boxes are in the page: the lowest on record, or higher where they are too many."""
    scores = [s for r in run.records for found in (r.clean, r.adversarial) for s in found.get("scores", ())]
    fitting = (f for f in (run.floor, *FLOORS) if sum(s > f for s in scores) <= MOST_BOXES)
    return min(next(fitting, 0.5), run.tau)


def _image(record: Record, pictures: Pictures, floor: float, run: RunData) -> dict[str, Any]:
    quality = record.quality
    row: dict[str, Any] = {
        "i": record.id,
        "n": record.stem,
        "s": STATUSES.index(record.status) if record.status in STATUSES else STATUSES.index("error"),
        "w": record.width,
        "h": record.height,
        "p": pictures.after + 2 * pictures.heat + 4 * pictures.original + 8 * pictures.untouched,
        "u": record.source,
        "b": _boxes(record.clean, floor, record, run.tau),
    }
    if quality:
        row |= {
            "k": record.k,
            "c": [_short(record.confidence_before, 4), _short(record.confidence_after, 4)],
            "q": [_short(quality.get(name), 6) for name in ("l1", "l2", "linf", "psnr", "ssim")],
            "f": [record.forwards, record.backwards, _short(record.seconds, 2)],
            "a": _boxes(record.adversarial, floor, record, run.tau),
            "t": _trace(record.trace.get("confidence", [])),
            "d": max(0, len(record.trace.get("confidence", [])) - 1),
        }
    optional = {
        "g": record.goal if record.goal != run.config.get("goal") else "",
        "r": record.reason,
        "o": list(record.notes),
        "x": [round(v, 1) for v in record.box] if record.box else None,
        "y": _short(record.asked_iou, 3),
        "m": record.status == "failure"
        and record.file_success
        or record.status == "success"
        and not record.file_success,
    }
    return row | {key: value for key, value in optional.items() if value}


def _boxes(found: dict[str, list], floor: float, record: Record, tau: float) -> list[float]:
    """label, score, x1, y1, x2, y2, label, ...: the strongest first."""
    digits = 0 if max(record.width, record.height) >= 400 else 1
    rows = zip(*(found.get(key, ()) for key in ("labels", "scores", "boxes")), strict=True)
    kept = sorted((row for row in rows if row[1] > floor), key=lambda row: -row[1])
    flat: list[float] = []
    for label, score, box in kept:
        flat += [label, score if (round(score, 4) > tau) != (score > tau) else round(score, 4)]
        flat += [round(v, digits) if digits else round(v) for v in box]
    return flat


def _trace(values: list[float]) -> list[int]:
    count = min(len(values), TRACE_POINTS)
    places = [round(i * (len(values) - 1) / max(1, count - 1)) for i in range(count)]
    return [round(1000 * values[place]) for place in places]


def _hex(color: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)


def _short(value: float | None, digits: int) -> float | None:
    """A number with so many significant digits; None where there is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def _as_script(data: Any) -> str:
    """JSON that a `<script>` element can hold, whatever is in it: nothing in it looks like a tag."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        "default-src 'none'; img-src 'self' file: data:; "
        f"style-src {source(style)}; script-src {source(script)}; base-uri 'none'; form-action 'none'"
    )


def _template(name: str) -> str:
    return (files("detattack.report") / "templates" / name).read_text(encoding="utf-8").strip()


def _precision(run: RunData) -> Precision | None:
    if not run.truth.get("annotations") or not run.clean:
        return None
    try:
        images = {r.id for r in run.records if "boxes" in r.clean and "boxes" in r.adversarial}
        return Precision(run.truth, run.clean, run.adversarial, images, set(run.names))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{run.path}: annotations.json and the results do not fit together ({error!r})") from error


def _title(run: RunData) -> str:
    return str(run.config.get("goal") or run.path.name)


def _count(run: RunData, status: str) -> int:
    return sum(record.status == status for record in run.records)


def _cards(run: RunData, precision: Precision | None) -> list[Card]:
    wins = [r for r in run.records if r.status == "success"]
    tried = sum(r.status in ATTACKED for r in run.records)
    low, high = wilson_interval(len(wins), tried) or (0.0, 1.0)
    rate = len(wins) / tried if tried else 0.0
    note = f"{len(wins)} of {tried} attacked, 95% interval {100 * low:.1f}–{100 * high:.1f}%"
    cards = [Card("Success rate", f"{100 * rate:.1f}%" if tried else "–", note, (low, rate, high) if tried else None)]
    if precision:
        before, after = mean_ap(precision.of(False)), mean_ap(precision.of(True))
        if before is not None and after is not None:
            note = f"clean → adversarial, scores above {run.eval_threshold:g}"
            expected = (run.summary.get("ap") or {}).get("expected_clean")
            note += "" if expected is None else f"; clean by the model's card: {expected:.3f}"
            cards.append(Card("mAP", f"{before:.3f} → {after:.3f}", note))
    cards.append(Card("Median K", _median([r.k for r in wins], "g"), "first iteration that succeeds"))
    for name, label, form, about in (
        ("l2", "Median L2", ".3f", "on values 0–1"),
        ("psnr", "Median PSNR", ".1f", "dB"),
        ("ssim", "Median SSIM", ".5f", "1 is identical"),
    ):
        cards.append(Card(label, _median([r.quality.get(name) for r in wins], form), about))
    kept = (run.summary.get("collateral") or {}).get("kept_share")
    if kept is not None:
        cards.append(Card("Others kept", f"{100 * kept:.1f}%", "detections that the goal is not about"))
    return cards


def _cost(run: RunData) -> str:
    forwards = [r.forwards for r in run.records if r.quality]
    mean = f", {statistics.fmean(forwards):.1f} image-forwards an attacked image" if forwards else ""
    return _duration(sum(r.seconds for r in run.records)) + mean


def _median(values: list[Any], form: str) -> str:
    known = [v for v in values if v is not None]
    return format(statistics.median(known), form) if known else "–"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _class_table(run: RunData, rows: list[ClassRow], precision: Precision | None) -> list[dict[str, Any]]:
    by_name = class_precision(precision) if precision else {}
    seen = {row.name for row in rows}
    rows = rows + [ClassRow(name) for name in by_name if name not in seen]
    return [
        {
            "row": row,
            "kept": f"{100 * row.kept / row.before:.0f}%" if row.before else "–",
            "rate": f"{100 * row.successes / row.images:.1f}%" if row.images else "–",
            "interval": _interval(row.successes, row.images),
            "ap": [f"{v:.3f}" for v in by_name.get(row.name, ())] or ["–", "–"],
        }
        for row in rows
    ]


def _interval(successes: int, trials: int) -> str:
    interval = wilson_interval(successes, trials)
    return f"{100 * interval[0]:.0f}–{100 * interval[1]:.0f}%" if interval else "–"


def _figures(run: RunData) -> list[tuple[str, str, str]]:
    """COCO's twelve figures, clean and adversarial, as the run scored them."""
    ap = run.summary.get("ap")
    if not isinstance(ap, dict):
        return []
    clean, adversarial = (ap.get(which) or {} for which in ("clean", "adversarial"))
    return [
        (name[:2].upper() + name[2:].replace("_", " "), _score(value), _score(adversarial.get(name)))
        for name, value in clean.items()
    ]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _spreads(run: RunData) -> list[tuple[str, list[str]]]:
    wins = [r for r in run.records if r.status == "success"]
    attacked = [r for r in run.records if r.quality]
    found = [(label, spread([r.k if name == "k" else r.quality.get(name) for r in wins])) for name, label in DISTANCES]
    extra = sorted({name for r in wins for name in r.quality} - {name for name, _ in DISTANCES})
    found += [(name, spread([r.quality.get(name) for r in wins])) for name in extra]
    found += [(label, spread([float(getattr(r, name)) for r in attacked])) for name, label in COSTS]
    return [(label, _spread_cells(values)) for label, values in found if values]


def _spread_cells(values: Spread) -> list[str]:
    numbers = (values.least, values.low, values.middle, values.high, values.most)
    return [str(values.count), *(f"{v:.5g}" for v in numbers)]


def _settings(run: RunData) -> list[tuple[str, list[tuple[str, str]]]]:
    config = {key: value for key, value in run.config.items() if key != "attack"}
    manifest = {k: v for k, v in run.manifest.items() if not isinstance(v, dict | list)}
    groups = [
        ("Config", config),
        ("Attack", run.config.get("attack") or {}),
        ("Made with", {**manifest, **(run.manifest.get("versions") or {}), **(run.manifest.get("environment") or {})}),
    ]
    return [(name, [(k, _text(v)) for k, v in values.items()]) for name, values in groups if values]


def _collateral(run: RunData) -> list[tuple[str, str, str, str]]:
    """What the attack did to detections that the goal is not about, as the run scored it: count, mean an image and
    its 95% interval."""
    found = run.summary.get("collateral") or {}
    if not found.get("images"):
        return []
    kept, change = found["kept_share_per_image"], found["difference_per_image"]
    return [
        ("others, clean", str(found["others"]), f"{found['others'] / found['images']:.3g}", "–"),
        ("of these kept", str(found["kept"]), _percent(kept["mean"]), _span(kept["interval"], _percent)),
        ("new detections", str(found["new"]), f"{found['new_per_image']:.3g}", "–"),
        (
            "change, paired",
            f"{found['kept'] + found['new'] - found['others']:+d}",
            _signed(change["mean"]),
            _span(change["interval"], _signed),
        ),
    ]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3g}"


def _span(interval: list[float] | None, form: Callable[[float], str]) -> str:
    return f"{form(interval[0])} to {form(interval[1])}" if interval else "–"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " – ".join(map(_text, value))
    return "–" if value is None else str(value)
