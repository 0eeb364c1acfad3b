"""What a change does to images that it was not found on: AP, objects missed, images broken, of 8-bit images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from detattack.core.precision import fixed_numerics
from detattack.core.types import Detections
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
from detattack.tasks.detection.universal.left_out import LeftOut, check_left, read, reason_of
from detattack.tasks.detection.universal.training import Subject

Pixels = NDArray[np.uint8]
AP = ("ap", "ap50")


@dataclass(frozen=True, eq=False)
class Judged:
    """A judged image.

    - original, pixels: untouched and changed, uint8 `[H,W,3]`
    - record: what is detected on both
    - found, missed: how many objects are found untouched, above τ, and how many of those are not found any more
    """

    original: Pixels
    pixels: Pixels
    record: DetectionRecord
    found: int
    missed: int


def judge(
    model: Detector,
    config: DetectionConfig,
    dataset: Dataset,
    subjects: Sequence[Subject],
    change: Change,
    values: Sequence[Tensor],
    show: Callable[[Judged], None] = lambda judged: None,
    progress: Callable[[], None] = lambda: None,
) -> tuple[list[dict[str, Any]], LeftOut]:
    """Judge several values of a change, all on the same images of a data set.

    Returns the figures of each, for JSON, and what is left out.

    - show: given each judged image under the first of the values
    - progress: told of each image
    - `clean`, `changed`: AP and AP50; None without annotations
    - `missed`: how many of the objects that are found untouched, above τ, are not found any more
    - `broken`: how many of the images with such an object have none left

    Raises `InputError` where no image is left.
    """
    rows, left_out = [], {}
    for subject in subjects:
        try:
            judged = [_judged(model, config, subject, change, one) for one in values]
        except Exception as error:  # the model is someone else's code: whatever it raises concerns this image only
            left_out[subject.sample.source] = reason_of(error, subject.sample)
        else:
            rows.append([(one.record, one.found, one.missed) for one in judged])  # without pixels
            show(judged[0])
        progress()
    check_left("images to judge on", len(rows), left_out)
    return [_figures(model, config, dataset, column) for column in zip(*rows, strict=True)], left_out


def changed(change: Change, values: Tensor, pixels: Pixels, subject: Subject) -> Pixels:
    """Put a change onto an image, uint8 `[H,W,3]`, as a file holds it."""
    return to_pixels(change.put_on(values, to_tensor(pixels), subject.boxes))


@fixed_numerics(gradient=False)
def _judged(model: Detector, config: DetectionConfig, subject: Subject, change: Change, values: Tensor) -> Judged:
    original = read(subject.sample).pixels
    pixels = changed(change, values, original, subject)
    after = as_lists(detected(model, config, to_tensor(pixels)))
    record = replace(subject.prepared.record, adversarial=after)
    target: Target = subject.prepared.goal.target
    was, still = (
        _found(target, from_lists(lists).above(config.score_threshold)) for lists in (record.clean, record.adversarial)
    )
    return Judged(original, pixels, record, sum(was), sum(a and not b for a, b in zip(was, still, strict=True)))


def _figures(
    model: Detector, config: DetectionConfig, dataset: Dataset, judged: Sequence[tuple[DetectionRecord, int, int]]
) -> dict[str, Any]:
    records, found, missed = zip(*judged, strict=True)
    broken = sum(0 < some == gone for some, gone in zip(found, missed, strict=True))
    return {
        **_precision(model, config, dataset, records),
        "missed": rate(sum(missed), sum(found)),
        "broken": rate(broken, sum(some > 0 for some in found)),
    }


def _found(target: Target, shown: Detections) -> list[bool]:
    """Tell of each object whether it is found."""
    pairs = zip(target.objects, target.object_labels, strict=True)
    return [matched(shown, target.labels_named_as(label), box) for box, label in pairs]


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
