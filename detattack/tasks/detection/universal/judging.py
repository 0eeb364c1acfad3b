"""What a change does to images that it was not found on: AP, objects missed, images broken, of 8-bit images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from detattack.core.precision import fixed_numerics
from detattack.core.types import Detections
from detattack.core.wording import counted
from detattack.datasets.base import Dataset
from detattack.datasets.image_io import to_pixels, to_tensor
from detattack.detectors.base import Detector
from detattack.metrics.rates import rate
from detattack.tasks.detection.coco_export import coco_results
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.goals import Target
from detattack.tasks.detection.inference import detected
from detattack.tasks.detection.matching import matched
from detattack.tasks.detection.record import DetectionRecord, as_lists, from_lists
from detattack.tasks.detection.summary import average_precision
from detattack.tasks.detection.universal.change import Change
from detattack.tasks.detection.universal.training import Subject

Pixels = NDArray[np.uint8]
AP = ("ap", "ap50")


@dataclass(frozen=True, eq=False)
class Judged:
    """A judged image.

    - original, pixels: untouched and changed, uint8 `[H,W,3]`
    - record: what is detected on both; where it is shown, its status says how many objects are missed
    """

    original: Pixels
    pixels: Pixels
    record: DetectionRecord


def judge(
    model: Detector,
    config: DetectionConfig,
    dataset: Dataset,
    subjects: Sequence[Subject],
    change: Change,
    values: Tensor,
    show: Callable[[Judged], None] = lambda judged: None,
) -> dict[str, Any]:
    """Judge the values of a change on all images of a data set; the figures, for JSON.

    - show: given each judged image
    - `clean`, `changed`: AP and AP50; None without annotations
    - `missed`: how many of the objects that are found untouched, above τ, are not found any more
    - `broken`: how many of the images with such an object have none left

    Raises `InputError` for an image that cannot be read.
    """
    records, found, missed = [], [], []
    for subject in subjects:
        judged = _judged(model, config, subject, change, values)
        records.append(judged.record)
        target: Target = subject.prepared.goal.target
        before, after = (
            _found(target, from_lists(lists).above(config.score_threshold))
            for lists in (judged.record.clean, judged.record.adversarial)
        )
        found.append(sum(before))
        missed.append(sum(was and not still for was, still in zip(before, after, strict=True)))
        status = f"{missed[-1]} of {counted(found[-1], 'object')} missed"
        show(replace(judged, record=replace(judged.record, status=status)))
    broken = sum(0 < some == gone for some, gone in zip(found, missed, strict=True))
    return {
        **_precision(model, config, dataset, records),
        "missed": rate(sum(missed), sum(found)),
        "broken": rate(broken, sum(some > 0 for some in found)),
    }


def changed(change: Change, values: Tensor, pixels: Pixels, subject: Subject) -> Pixels:
    """Put a change onto an image, uint8 `[H,W,3]`, as a file holds it."""
    return to_pixels(change.put_on(values, to_tensor(pixels), subject.boxes))


@fixed_numerics(gradient=False)
def _judged(model: Detector, config: DetectionConfig, subject: Subject, change: Change, values: Tensor) -> Judged:
    original = subject.sample.load().pixels
    pixels = changed(change, values, original, subject)
    after = as_lists(detected(model, config, to_tensor(pixels)))
    return Judged(original, pixels, replace(subject.prepared.record, adversarial=after))


def _found(target: Target, shown: Detections) -> list[bool]:
    """Tell of each object whether it is found."""
    pairs = zip(target.objects, target.object_labels, strict=True)
    return [any(matched(shown, named, box) for named in target.labels_named_as(label)) for box, label in pairs]


def _precision(
    model: Detector, config: DetectionConfig, dataset: Dataset, records: Sequence[DetectionRecord]
) -> dict[str, Any]:
    scores = average_precision(
        dataset,
        model,
        [record.id for record in records],
        lambda: coco_results(records, model, dataset, "clean"),
        lambda: coco_results(records, model, dataset, "adversarial"),
        config.max_detections,
    )
    names = {"clean": "clean", "changed": "adversarial"}
    return {name: None if scores is None else {ap: scores[key][ap] for ap in AP} for name, key in names.items()}
