"""When a detection is at a box: the IoU thresholds of all goals, and what they select."""

from collections.abc import Sequence

import torch
from torch import Tensor

from detattack.core.boxes import Box, iou_matrix, to_box
from detattack.core.types import Detections

SUPPRESS_IOU = 0.3
"""A detection with at least this IoU with the box of `suppress:...@box` is the one that must vanish."""
MATCH_IOU = 0.5
"""From this IoU on, a detection is at the asked box, or at the same object."""


def near(found: Detections, box: Box, least_iou: float) -> Tensor:
    """Which detections have at least that IoU with a box: bool `[M]`."""
    return iou_matrix(found.boxes, as_tensor(box, found.boxes))[:, 0] >= least_iou


def at(found: Detections, box: Box | None, least_iou: float = MATCH_IOU) -> Detections:
    """Select the detections with at least that IoU with a box; None: all."""
    if box is None:
        return found
    keep = near(found, box, least_iou)
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep])


def matched(found: Detections, labels: Sequence[int], box: Box) -> bool:
    """Whether one of the detections is of the labels and at the box (IoU ≥ `MATCH_IOU`)."""
    return len(at(found.of(labels), box)) > 0


def top_score(found: Detections) -> float:
    """Return the highest score; 0 where there is none."""
    return float(found.scores.max()) if len(found) else 0.0


def as_tensor(box: Box, like: Tensor) -> Tensor:
    """Convert a box to float32 `[1,4]` on the device of `like`."""
    return torch.tensor([box], dtype=torch.float32, device=like.device)


def as_boxes(boxes: Tensor) -> tuple[Box, ...]:
    """`[M,4]` as boxes."""
    return tuple(to_box(row) for row in boxes.tolist())
