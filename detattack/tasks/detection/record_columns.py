"""The columns of `images.csv` of a detector's run, beside those of every task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from detattack.core.types import DEFAULT_SCORE_THRESHOLD
from detattack.tasks.columns import RecordColumn, field_column
from detattack.tasks.detection.record import DetectionRecord, from_lists

Which = Literal["clean", "adversarial"]
SIDES = ("x1", "y1", "x2", "y2")


def _count(record: DetectionRecord, manifest: Mapping[str, Any], which: Which) -> int:
    """Count the detections above τ."""
    threshold = manifest["config"].get("score_threshold", DEFAULT_SCORE_THRESHOLD)
    return len(from_lists(getattr(record, which)).above(threshold))


def _counted(which: Which, text: str) -> RecordColumn:
    return RecordColumn(
        f"detections_{which}",
        "integer",
        lambda record, manifest: _count(record, manifest, which) if getattr(record, which) else None,
        text,
    )


def _side(place: int) -> Callable[[DetectionRecord, Mapping[str, Any]], float | None]:
    return lambda record, manifest: None if record.box is None else record.box[place]


RECORD_COLUMNS: Sequence[RecordColumn] = (
    field_column("goal", "text", "the goal, resolved for this image"),
    *(
        RecordColumn(f"box_{side}", "number", _side(place), "the box that the goal names", "px")
        for place, side in enumerate(SIDES)
    ),
    RecordColumn("objects", "integer", lambda record, manifest: len(record.objects), "objects that the goal is about"),
    RecordColumn("others", "integer", lambda record, manifest: len(record.kept), "detections that have to stay"),
    _counted("clean", "detections above τ on the original"),
    _counted("adversarial", "detections above τ on the adversarial image"),
    field_column("asked_iou", "number", "IoU of an injected object with the asked box", "0 to 1"),
)
