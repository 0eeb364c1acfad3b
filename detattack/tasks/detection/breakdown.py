"""What a run broke, and how: confusion of classes, and what AP50 loses to which error, clean and under attack."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from detattack.core.types import DEFAULT_MAX_DETECTIONS, DetectorCard
from detattack.datasets.base import Dataset
from detattack.datasets.coco import category_ids
from detattack.metrics.confusion import BACKGROUND, Confusion, Counts
from detattack.metrics.error_split import ErrorTally
from detattack.metrics.labelled_boxes import LabelledBoxes
from detattack.runs.record import Found
from detattack.tasks.detection.record import DetectionRecord

SIDES = ("clean", "adversarial")
NAMES = {
    "missed": "missed",
    "wrong_class": "wrong class",
    "wrong_place": "wrong place",
    "duplicate": "duplicates",
    "background": "background",
    "both": "class and place",
}
"""What people read for each kind of error."""
MOST_NAMED = 3


def breakdown(
    records: Iterable[DetectionRecord],
    detector: DetectorCard,
    dataset: Dataset,
    score_threshold: float,
    max_detections: int = DEFAULT_MAX_DETECTIONS,
) -> dict[str, Any]:
    """Tell a run's `confusion`, `above_threshold` and `lost_ap`, in one pass over its records, which come by id.

    - confusion: of the attacked images and the detections above τ, how many of each class (a row) are taken for which
      (a column, without zeros): `clean_to_adversarial` of the clean detections, and `objects_to_clean` and
      `objects_to_adversarial` of the annotated objects, None without annotations.
      What is detected where no object is counts if it is of a class that the data has: of others nobody knows.
    - above_threshold: `clean` and `adversarial`, recall and false positives an image, of these counts; None without
      annotations
    - lost_ap: `clean` and `adversarial`, an `ErrorSplit` each, of the images and detections that AP is over; None
      without annotations.
    """
    counted = _Breakdown(detector, dataset, score_threshold, max_detections)
    for record in records:
        counted.add(record)
    return counted.as_json()


class _Breakdown:
    """Takes the records of a run one by one."""

    def __init__(self, detector: DetectorCard, dataset: Dataset, score_threshold: float, max_detections: int) -> None:
        self._detector, self._threshold = detector, score_threshold
        self._annotated = bool(dataset.categories)
        ids = category_ids(detector.categories, dataset.categories) if self._annotated else {}
        label_of = {category: label for label, category in reversed(ids.items())}
        self._shared = {label: label_of[category] for label, category in ids.items()}
        self._objects = _by_image(dataset.annotations, label_of)
        self._nothing = LabelledBoxes.objects((), {})
        self._kept = Confusion()
        self._found = {side: Confusion() for side in SIDES}
        self._errors = {side: ErrorTally(len(detector.categories), max_detections) for side in SIDES}
        self._images = 0

    def add(self, record: DetectionRecord) -> None:
        """Count an image."""
        if not record.is_scored:
            return
        objects = self._objects.get(record.id, self._nothing)
        found = {"clean": self._boxes(record.clean), "adversarial": self._boxes(record.adversarial)}
        if self._annotated:
            for side, boxes in found.items():
                self._errors[side].add(objects, self._scored(boxes))
        if record.quality:  # it was attacked
            self._images += 1
            shown = {side: self._shown(boxes) for side, boxes in found.items()}
            self._kept.add(shown["clean"], shown["adversarial"])
            for side, boxes in shown.items():
                self._found[side].add(objects, boxes)

    def as_json(self) -> dict[str, Any]:
        """Tell what was counted."""
        names = [category.name for category in self._detector.categories]
        known = {names[label] for label in self._shared.values()}
        against = {side: _known(self._found[side].by_name(names), known) if self._annotated else None for side in SIDES}
        return {
            "confusion": {
                "clean_to_adversarial": self._kept.by_name(names),
                **{f"objects_to_{side}": counts for side, counts in against.items()},
            },
            "above_threshold": self._above_threshold(against),
            "lost_ap": {side: asdict(self._errors[side].split()) for side in SIDES} if self._annotated else None,
        }

    def _above_threshold(self, against: Mapping[str, Counts | None]) -> dict[str, Any] | None:
        found = {side: recall_and_false(counts, self._images) for side, counts in against.items() if counts is not None}
        return found or None

    def _boxes(self, found: Found) -> LabelledBoxes:
        return LabelledBoxes.detections(found["boxes"], list(map(self._label, found["labels"])), found["scores"])

    def _label(self, label: int) -> int:
        """Return the first of the labels that mean the same category of the data."""
        return self._shared.get(label, label)

    def _scored(self, found: LabelledBoxes) -> LabelledBoxes:
        """Return what AP counts."""
        known = np.isin(found.labels, list(self._shared.values()))
        return found[known & (found.scores > self._detector.eval_threshold)]

    def _shown(self, found: LabelledBoxes) -> LabelledBoxes:
        """Return what is above τ, compared in float32, as `Detections.above` does."""
        return found[found.scores.astype(np.float32) > np.float32(self._threshold)]


def _known(counts: Counts, known: Collection[str]) -> Counts:
    """Return the counts without what is of no known class and on no object."""
    rows = {**counts, BACKGROUND: {name: n for name, n in counts.get(BACKGROUND, {}).items() if name in known}}
    return {name: row for name, row in rows.items() if row}


def _by_image(annotations: Iterable[Mapping[str, Any]], label_of: Mapping[int, int]) -> dict[int, LabelledBoxes]:
    rows: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        rows[annotation["image_id"]].append(annotation)
    return {image: LabelledBoxes.objects(some, label_of) for image, some in rows.items()}


def recall_and_false(counts: Counts, images: int) -> dict[str, float | None]:
    """Tell the share of the objects that are found as what they are, and how many detections an image are not.

    counts: what objects are taken for. None where there is no object, or no image.
    """
    objects = {name: row for name, row in counts.items() if name != BACKGROUND}
    total = sum(sum(row.values()) for row in objects.values())
    right = sum(row.get(name, 0) for name, row in objects.items())
    taken = sum(count for row in counts.values() for name, count in row.items() if name != BACKGROUND)
    return {
        "recall": right / total if total else None,
        "false_positives_per_image": (taken - right) / images if images else None,
    }


def lost_ap_line(lost_ap: Mapping[str, Any] | None) -> str | None:
    """Tell in a line what the attacked images lose most AP50 to; None where nothing is known to be lost."""
    lost = (lost_ap or {}).get("adversarial", {}).get("lost", {})
    known = {name: value for name, value in lost.items() if value is not None and round(value, 2) > 0}
    most = sorted(known, key=lambda name: -known[name])[:MOST_NAMED]
    return ", ".join(f"{NAMES[name]} {known[name]:.2f}" for name in most) or None
