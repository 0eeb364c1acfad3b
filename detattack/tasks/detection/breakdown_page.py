"""What the page tells of what a run broke, and how: confusion of classes, and the split of the lost AP50."""

from collections.abc import Mapping, Sequence
from typing import Any

from detattack.metrics.confusion import MATCH_IOU, Counts, folded
from detattack.report.charts import LEGEND
from detattack.report.page import Table
from detattack.report.plots import Plot, bars, matrix
from detattack.tasks.detection.breakdown import NAMES, SIDES

MOST_CLASSES = 6
OBJECTS = {"clean": "Annotated objects, clean", "adversarial": "Annotated objects, attacked"}


def breakdown_charts(summary: Mapping[str, Any], tau: float) -> list[Plot]:
    """Draw what a summary knows of it; nothing of a run that was summed up before there was such a thing."""
    confusion = summary.get("confusion") or {}
    return [*_changes(confusion, tau), *_objects(confusion, tau), *_lost(summary.get("lost_ap"))]


def breakdown_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Count objects and detections of each kind of error, beside the AP50 that they cost."""
    lost_ap = summary.get("lost_ap")
    if not lost_ap:
        return []
    sides = [lost_ap[side] for side in SIDES]
    rows = [["right", *_cells(sides, "right"), "–", "–"]]
    for error, name in NAMES.items():
        rows.append([name, *_cells(sides, error), *(_score(side["lost"][error]) for side in sides)])
    totals = [str(sum(side[what].values())) for what in ("objects", "detections") for side in sides]
    rows.append(["in all", *totals, "–", "–"])
    head = ("kind", "objects clean", "attacked", "detections clean", "attacked", "AP50 lost clean", "attacked")
    about = (
        "What became of each annotated object, and what each detection that AP counts is. A wrong place has an IoU of "
        "0.1 to 0.5 with an object of the class, a wrong class 0.5 or more with one of another; class and place are "
        "wrong in between; background has less than 0.1 with everything."
    )
    return [Table("Errors of the detector", head, rows, about)]


def _changes(confusion: Mapping[str, Any], tau: float) -> list[Plot]:
    counts = confusion.get("clean_to_adversarial")
    if not counts:
        return []
    names, (table,) = folded([counts], MOST_CLASSES)
    text = (
        f"What detections above τ = {tau:g} on the clean images (rows) have become on the attacked ones (columns), "
        f"where IoU ≥ {MATCH_IOU:g}. A row adds up to the clean detections of its class; the last row is of those "
        "that are new."
    )
    return [Plot("Clean to attacked", matrix([*names, "new"], [*names, "gone"], table.tolist()), text)]


def _objects(confusion: Mapping[str, Any], tau: float) -> list[Plot]:
    tables: list[Counts] = [confusion.get(f"objects_to_{side}") or {} for side in SIDES]
    if not any(tables):
        return []
    names, squares = folded(tables, MOST_CLASSES)
    text = (
        f"What annotated objects (rows) are taken for on the {{}} images (columns), above τ = {tau:g}, where IoU ≥ "
        f"{MATCH_IOU:g}. A row adds up to the objects of its class; the last row is of detections where no object is."
    )
    return [
        Plot(OBJECTS[side], matrix([*names, "no object"], [*names, "not found"], square.tolist()), text.format(which))
        for side, which, square in zip(SIDES, ("untouched", "attacked"), squares, strict=True)
    ]


def _lost(lost_ap: Mapping[str, Any] | None) -> list[Plot]:
    if not lost_ap or any(lost_ap[side]["ap50"] is None for side in SIDES):
        return []
    rows = [(name, *(lost_ap[side]["lost"][error] for side in SIDES)) for error, name in NAMES.items()]
    before, after = (lost_ap[side]["ap50"] for side in SIDES)
    text = (
        f"AP50 that would be gained if errors of this kind alone were repaired (TIDE), all scores counted; AP50 is "
        f"{before:.3f} clean and {after:.3f} attacked. The parts need not add up to what is missing from 1."
    )
    return [Plot("Where AP50 is lost", bars(rows, None, ".3f"), text, LEGEND)]


def _cells(sides: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    return [str(side[what].get(kind, "–")) for what in ("objects", "detections") for side in sides]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
