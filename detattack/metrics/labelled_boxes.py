"""Boxes of one image with their classes, and how far they overlap."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask


@dataclass(frozen=True, eq=False)
class LabelledBoxes:
    """Objects or detections of one image; there may be none (M = 0).

    - boxes: x, y, width and height in pixels `[M,4]`
    - labels: `[M]`, from 0 on
    - scores: `[M]`, 1 for objects
    - crowd: bool `[M]`, boxes around crowds, where a detection is neither right nor wrong
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    @classmethod
    def objects(cls, annotations: Iterable[Mapping[str, Any]], labels: Mapping[int, int]) -> Self:
        """Take annotations in COCO's format. labels: by category id; annotations of other categories are left out."""
        kept = [a for a in annotations if a["category_id"] in labels]
        crowd = [bool(a.get("iscrowd")) for a in kept]
        return cls._of([a["bbox"] for a in kept], [labels[a["category_id"]] for a in kept], [1.0] * len(kept), crowd)

    @classmethod
    def detections(cls, corners: Sequence[Sequence[float]], labels: Sequence[int], scores: Sequence[float]) -> Self:
        """Take detections. corners: x1, y1, x2 and y2 of each."""
        return cls._of(
            [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners], labels, scores, [False] * len(labels)
        )

    @classmethod
    def _of(
        cls, boxes: Sequence[Sequence[float]], labels: Sequence[int], scores: Sequence[float], crowd: Sequence[bool]
    ) -> Self:
        places = np.array(boxes, np.float64).reshape(-1, 4)
        return cls(places, np.array(labels, np.int64), np.array(scores, np.float64), np.array(crowd, np.bool_))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: NDArray[Any]) -> Self:
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))


def overlaps(found: LabelledBoxes, objects: LabelledBoxes) -> NDArray[np.float64]:
    """Return the IoU `[found, objects]`; with a crowd, the share of the detection that lies in it (pycocotools)."""
    if not len(found) or not len(objects):
        return np.zeros((len(found), len(objects)))
    return np.asarray(mask.iou(found.boxes, objects.boxes, objects.crowd))


def same_class(found: LabelledBoxes, objects: LabelledBoxes) -> NDArray[np.bool_]:
    """Tell which are of one class: bool `[found, objects]`."""
    return found.labels[:, None] == objects.labels[None]


def in_crowd(found: LabelledBoxes, objects: LabelledBoxes, least: float) -> NDArray[np.bool_]:
    """Tell which detections lie in a crowd of their class with at least that share: bool `[found]`."""
    crowds = objects[objects.crowd]
    inside = (overlaps(found, crowds) >= least) & same_class(found, crowds)
    return np.asarray(inside.any(1))
