"""What the page of a detector's run tells: goals, boxes, AP, collateral damage."""

from collections.abc import Callable
from typing import Any

import numpy as np

from detattack.core.boxes import from_xywh
from detattack.core.errors import InputError
from detattack.core.types import DEFAULT_MAX_DETECTIONS
from detattack.metrics.coco import GroundTruth, PrecisionTable, mean_ap
from detattack.report.charts import success_curves
from detattack.report.colors import class_color, hex_color
from detattack.report.page import (
    Card,
    Content,
    Table,
    distance_cards,
    image_row,
    judged_on,
    question_of,
    questions_of,
    rate_cells,
    success_card,
)
from detattack.report.pictures import Pictures
from detattack.tasks.detection.breakdown import SIDES
from detattack.tasks.detection.breakdown_page import breakdown_tables
from detattack.tasks.detection.charts import ap_within, charts, class_precision
from detattack.tasks.detection.goals import labels_about
from detattack.tasks.detection.measures import ClassRow
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.run_data import CocoFiles, DetectionData, read_coco
from detattack.tasks.detection.summary import ap_notes, clean_ap_problem, emptying_threshold

MOST_BOXES = 150_000
"""Boxes in the page at most; a run with more is shown from a higher score on, and the page says so."""
FLOORS = (0.1, 0.2, 0.3, 0.4, 0.5)
PER_IMAGE = "false_positives_per_image"


def page_content(run: DetectionData, pictures: dict[int, Pictures]) -> Content:
    """Tell of a detector's run. pictures: what there is to see, by image id."""
    files = read_coco(run.path)
    precision, floor, objects = _precision(run, files), _shown_floor(run), _Objects(files)
    curves = [*ap_within(run, precision), *success_curves(run)]
    rows = run.classes.rows(run.names)
    return Content(
        title=str(run.config.get("goal") or run.path.name),
        facts=[question_of(run), f"τ = {run.tau:g}", judged_on(run)],
        questions=_questions(run, precision),
        cards=_cards(run, precision),
        plots=charts(run, rows, precision, curves),
        tables=[*_classes(run, rows, precision), *_figures(run), *breakdown_tables(run.summary), *_collateral(run)],
        data={
            "tau": run.tau,
            "floor": floor,
            "classes": run.names,
            "colors": [hex_color(class_color(name)) for name in run.names],
            "goal": run.config.get("goal", ""),
            "about": labels_about(run.config.get("goal", ""), run.names),
            "objects": objects.names,
            "object_colors": [hex_color(class_color(name)) for name in objects.names],
        },
        images=(
            _image(record, pictures.get(record.id, Pictures()), floor, run) | objects.of(record.id)
            for record in run.whole()
        ),
        boxes=True,
        curves=curves,
        warning=clean_ap_problem(run.summary.get("ap")) or "",
    )


class _Objects:
    """The annotated objects of each image: class, x1, y1, x2, y2, class, ...; none where they are too many."""

    def __init__(self, files: CocoFiles) -> None:
        places = {category["id"]: i for i, category in enumerate(files.categories)}
        self.names = [str(category["name"]) for category in files.categories]
        self._flat: dict[int, list[float]] = {}
        for one in files.annotations if len(files.annotations) <= MOST_BOXES else ():
            flat = self._flat.setdefault(one["image_id"], [])
            flat += [places[one["category_id"]], *(round(float(v), 1) for v in from_xywh(one["bbox"]))]

    def of(self, image: int) -> dict[str, Any]:
        """Return what the row of an image has of them."""
        return {"z": self._flat[image]} if image in self._flat else {}


def _shown_floor(run: DetectionData) -> float:
    """Return the score from which on boxes are in the page: the lowest on record, or higher for too many boxes."""
    fitting = (f for f in (run.floor, *FLOORS) if sum(s > f for s in run.scores) <= MOST_BOXES)
    return min(next(fitting, 0.5), run.tau)


def _image(record: DetectionRecord, pictures: Pictures, floor: float, run: DetectionData) -> dict[str, Any]:
    iou = record.asked_iou
    row = image_row(
        record,
        pictures,
        g=record.goal if record.goal != run.config.get("goal") else "",
        x=[round(v, 1) for v in record.box] if record.box else None,
        e=[] if iou is None else [["IoU with asked box", f"{iou:.3g}"]],
    )
    row["b"] = _boxes(record.clean, floor, record, run.tau)
    if record.quality:
        row["a"] = _boxes(record.adversarial, floor, record, run.tau)
    return row


def _boxes(found: dict[str, list[Any]], floor: float, record: DetectionRecord, tau: float) -> list[float]:
    """label, score, x1, y1, x2, y2, label, ...: the strongest first.

    A rounded score is above τ where the score is, compared in float32, as `Detections.above` does.
    """
    digits = 0 if max(record.width, record.height) >= 400 else 1
    rows = zip(*(found.get(key, ()) for key in ("labels", "scores", "boxes")), strict=True)
    kept = sorted((row for row in rows if row[1] > floor), key=lambda row: -row[1])
    flat: list[float] = []
    for label, score, box in kept:
        above = bool(np.float32(score) > np.float32(tau))
        flat += [label, score if (round(score, 4) > tau) != above else round(score, 4)]
        flat += [round(v, digits) if digits else round(v) for v in box]
    return flat


def _precision(run: DetectionData, files: CocoFiles) -> PrecisionTable | None:
    """Precision over the images and classes that the summary scored; None where it scored none."""
    ap = run.summary.get("ap")
    if not ap:
        return None
    try:
        counted = {c["id"] for c in files.categories if c["name"] in ap["per_category"]}
        most = ap.get("max_detections") or DEFAULT_MAX_DETECTIONS
        truth = GroundTruth(files.annotations, files.categories, run.scored, counted, most)
        return PrecisionTable(truth, files.clean, files.adversarial)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{run.path}: annotations.json and the results do not fit together ({error!r})") from error


def _questions(run: DetectionData, precision: PrecisionTable | None) -> list[tuple[str, str]]:
    holds = f"the goal holds among the detections above τ = {run.tau:g}"
    if run.budget:
        asked = questions_of(run, f"{holds}, of which recall and false positives are, too.")
    else:
        asked = questions_of(run, f"{holds}, which is where the attack stops.")
    if precision is None:
        return asked
    low = run.eval_threshold
    counted = f"counts every detection down to {low:g}, so that it can stay high where nothing is left above τ."
    if not run.budget and str(run.config.get("goal", "")).startswith("suppress:"):
        said = emptying_threshold(run.tau, low)
        counted += f" {said[0].upper()}{said[1:]}."
    notes = (note.partition(": ") for note in ap_notes(run.summary["ap"]))
    return [*asked, ("AP", counted), *((what.capitalize(), f"{which}.") for what, _, which in notes)]


def _cards(run: DetectionData, precision: PrecisionTable | None) -> list[Card]:
    scores = _precision_cards(run, precision) if precision else []
    cards = [*scores, *_threshold_cards(run), success_card(run)] if run.budget else [success_card(run), *scores[:1]]
    cards += distance_cards(run)
    kept = (run.summary.get("collateral") or {}).get("kept_share")
    if kept is not None:
        cards.append(Card("Others preserved", f"{100 * kept:.1f}%", "detections that the goal is not about"))
    return cards


def _precision_cards(run: DetectionData, precision: PrecisionTable) -> list[Card]:
    """Show AP and AP50, clean and attacked; nothing where no object is annotated."""
    clean, attacked = precision.of(False), precision.of(True)
    note = f"clean → adversarial, scores above {run.eval_threshold:g}"
    expected = (run.summary.get("ap") or {}).get("expected_clean")
    note += "" if expected is None else f"; clean by the model's card: {expected:.3f}"
    pairs = [("AP", mean_ap(clean), mean_ap(attacked), note)]
    pairs.append(("AP50", mean_ap(clean[:1]), mean_ap(attacked[:1]), "the same at IoU 0.5"))
    return [
        Card(label, f"{before:.3f} → {after:.3f}", about)
        for label, before, after, about in pairs
        if before is not None and after is not None
    ]


def _threshold_cards(run: DetectionData) -> list[Card]:
    """Show recall and false positives above τ, as the run counted them."""
    above = run.summary.get("above_threshold") or {}
    shown = (("recall", "Recall", ".3f", "of the annotated objects"), (PER_IMAGE, "False positives", ".2f", "an image"))
    return [
        Card(label, " → ".join(format(above[side][key], form) for side in SIDES), f"{about}, above τ = {run.tau:g}")
        for key, label, form, about in shown
        if above and all(above[side][key] is not None for side in SIDES)
    ]


def _classes(run: DetectionData, rows: list[ClassRow], precision: PrecisionTable | None) -> list[Table]:
    by_name = class_precision(precision, run.names) if precision else {}
    seen = {row.name for row in rows}
    rows = rows + [ClassRow(name) for name in by_name if name not in seen]
    if not rows:
        return []
    annotated = ("AP clean", "AP adversarial") if precision else ()
    reached = "broken" if run.budget else "success"
    head = ("class", "images", reached, "interval", "detections before", "after", "kept", *annotated)
    about = (
        f"On the attacked images, above τ = {run.tau:g}. Kept: clean detections that one of the same class still "
        "matches (IoU ≥ 0.5). "
        f"{reached.capitalize()}: of the images with the class, with its 95% interval."
    )
    cells = []
    for row in rows:
        kept = f"{100 * row.kept / row.before:.0f}%" if row.before else "–"
        ap = [f"{v:.3f}" for v in by_name.get(row.name, ())] or ["–", "–"]
        rate = rate_cells(row.successes, row.images)
        cells.append(
            [row.name, str(row.images), *rate, str(row.before), str(row.after), kept, *(ap if precision else [])]
        )
    return [Table("By class", head, cells, about, shape="tall")]


def _figures(run: DetectionData) -> list[Table]:
    """COCO's twelve figures, clean and adversarial, as the run scored them."""
    ap = run.summary.get("ap")
    if not isinstance(ap, dict):
        return []
    clean, adversarial = (ap.get(which) or {} for which in ("clean", "adversarial"))
    most = {"ar100": f"ar{ap.get('max_detections') or DEFAULT_MAX_DETECTIONS}"}
    rows = [
        [_heading(most.get(name, name)), _score(value), _score(adversarial.get(name))] for name, value in clean.items()
    ]
    return [Table("COCO's figures", ("figure", "clean", "adversarial"), rows, shape="narrow")] if rows else []


def _heading(figure: str) -> str:
    return figure[:2].upper() + figure[2:].replace("_", " ")


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _collateral(run: DetectionData) -> list[Table]:
    """Tell what the attack did to detections that the goal is not about, as the run scored it.

    Counts, means per image, and their 95% intervals.
    """
    found = run.summary.get("collateral") or {}
    if not found.get("images"):
        return []
    kept, change = found["kept_share_per_image"], found["difference_per_image"]
    moved = found["kept"] + found["new"] - found["others"]
    rows = [
        ["others, clean", str(found["others"]), f"{found['others'] / found['images']:.3g}", "–"],
        ["of these kept", str(found["kept"]), _percent(kept["mean"]), _span(kept["interval"], _percent)],
        ["new detections", str(found["new"]), f"{found['new_per_image']:.3g}", "–"],
        ["change, paired", f"{moved:+d}", _signed(change["mean"]), _span(change["interval"], _signed)],
    ]
    head = ("detections", "in all", "an image", "95% interval")
    about = f"Detections above τ = {run.tau:g} that the goal is not about, on the attacked images."
    return [Table("Collateral damage", head, rows, about, shape="medium")]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3g}"


def _span(interval: list[float] | None, form: Callable[[float], str]) -> str:
    return f"{form(interval[0])} to {form(interval[1])}" if interval else "–"
