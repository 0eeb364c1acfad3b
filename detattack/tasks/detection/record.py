"""What is known of one attacked image: a row of the ledger of a detector's run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from detattack.core.boxes import Box
from detattack.core.types import Category, Detections, DetectorCard
from detattack.detectors.base import Detector
from detattack.runs.record import BaseRecord, Found
from detattack.tasks.detection.goals import Target, first_labels_of, parse_goal


@dataclass(frozen=True, repr=False)
class DetectionRecord(BaseRecord):
    """What is known of one attacked image in the end; a row of the ledger.

    goal: resolved, so that it can be judged again; box, objects, object_labels, kept: what it is about. asked_iou: of
    an injected object with the asked box. clean, adversarial: detections down to the detector's own threshold, as
    dictionaries of lists.
    """

    task: ClassVar[str] = "detect"
    long: ClassVar[tuple[str, ...]] = ("clean", "adversarial", "trace")

    goal: str = ""
    box: Box | None = None
    objects: tuple[Box, ...] = ()
    kept: tuple[tuple[int, Box], ...] = ()
    object_labels: tuple[int, ...] = ()
    asked_iou: float | None = None
    clean: Found = field(default_factory=dict)
    adversarial: Found = field(default_factory=dict)

    @property
    def is_scored(self) -> bool:
        """Whether AP counts the image: the detector has seen it untouched and attacked."""
        return "boxes" in self.clean and "boxes" in self.adversarial


def target_of(record: DetectionRecord, detector: Detector | DetectorCard) -> Target:
    """Resolve the target of a record, as it was: what `verify` judges by."""
    goal = parse_goal(record.goal)
    goal.check(detector.categories)
    labels, firsts = goal.labels(detector.categories), first_labels_of(detector.categories)
    return Target(goal, labels, record.box, record.objects, record.kept, record.object_labels, firsts)


def as_lists(found: Detections) -> dict[str, list[Any]]:
    """Convert detections to plain lists."""
    return {"boxes": found.boxes.tolist(), "scores": found.scores.tolist(), "labels": found.labels.tolist()}


def from_lists(lists: dict[str, list[Any]]) -> Detections:
    """Make detections from `as_lists`; none from nothing, which is what an image holds that the model failed on."""
    return Detections(
        torch.tensor(lists.get("boxes", []), dtype=torch.float32).reshape(-1, 4),
        torch.tensor(lists.get("scores", []), dtype=torch.float32),
        torch.tensor(lists.get("labels", []), dtype=torch.long),
    )


def card_of(manifest: Mapping[str, Any]) -> DetectorCard:
    """Read what a run's manifest says of its detector."""
    detector = manifest["detector"]
    categories = tuple(Category(c["name"], c["id"]) for c in manifest["categories"])
    return DetectorCard(detector["name"], categories, detector["eval_threshold"], detector.get("expected_ap"))
