"""The annotated objects that `degrade` and `flood` are about."""

from dataclasses import dataclass, field

import torch

from detattack.core.boxes import Box, from_xywh
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.datasets.base import Dataset
from detattack.datasets.coco import category_ids
from detattack.detectors.base import Detector
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.goals import Goal


@dataclass(frozen=True)
class Objects:
    """Annotated objects.

    - by_image: by image id, as (label, box)
    - labels: of the classes that the annotations have, the first of each name; empty: of all classes
    """

    by_image: dict[int, list[tuple[int, Box]]] = field(default_factory=dict)
    labels: tuple[int, ...] = ()

    def of(self, image_id: int) -> Detections:
        """Return the objects of an image as detections of score 1."""
        found = self.by_image.get(image_id, [])
        boxes = torch.tensor([box for _, box in found], dtype=torch.float32).reshape(-1, 4)
        return Detections(boxes, torch.ones(len(found)), torch.tensor([label for label, _ in found], dtype=torch.long))


def check_reference(config: DetectionConfig, goal: Goal, dataset: Dataset) -> None:
    """Raise `InputError` for a `--reference` that the goal has no use for, or annotations that are not there."""
    if config.reference is not None and not goal.of_objects:
        raise InputError(f"--reference {config.reference}: goal '{goal}' is about no reference objects")
    if config.reference == "annotations" and not dataset.categories:
        raise InputError("--reference annotations: the data set has none")


def objects_of(model: Detector, config: DetectionConfig, goal: Goal, dataset: Dataset) -> Objects | None:
    """Look up the annotated objects of the classes that the model knows, crowds ignored.

    None where the goal is about none, or about what is detected untouched.
    """
    if not goal.of_objects or config.reference == "detections" or not dataset.categories:
        return None
    labels: dict[int, int] = {}
    shared = category_ids(model.categories, dataset.categories)
    for ours, theirs in shared.items():
        labels.setdefault(theirs, ours)  # of several labels of one name the first, as `Target.places` has all
    objects = Objects(labels=() if len(shared) == len(model.categories) else tuple(labels.values()))
    for annotation in dataset.annotations:
        label = labels.get(annotation["category_id"])
        if label is not None and not annotation.get("iscrowd"):
            objects.by_image.setdefault(annotation["image_id"], []).append((label, from_xywh(annotation["bbox"])))
    return objects
