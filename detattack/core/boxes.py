"""Boxes as xyxy in pixels, their area and their overlap."""

from collections.abc import Iterable

import torch
from torch import Tensor


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of `[...,4]` with `[...,4]`, elementwise with broadcasting. Differentiable."""
    left_top = torch.maximum(boxes[..., :2], others[..., :2])
    right_bottom = torch.minimum(boxes[..., 2:], others[..., 2:])
    shared = (right_bottom - left_top).clamp_min(0).prod(-1)
    return shared / (area(boxes) + area(others) - shared).clamp_min(1e-9)


def iou_matrix(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the IoU `[M,L]` of each of `[M,4]` with each of `[L,4]`."""
    return iou(boxes[:, None], others[None])


def giou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the generalized IoU in [−1,1] (Rezatofighi et al., 2019) of `[...,4]` with `[...,4]`, elementwise.

    Unlike IoU, it has a gradient also where boxes do not touch.
    """
    hull = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    left_top = torch.maximum(boxes[..., :2], others[..., :2])
    right_bottom = torch.minimum(boxes[..., 2:], others[..., 2:])
    shared = (right_bottom - left_top).clamp_min(0).prod(-1)
    union = (area(boxes) + area(others) - shared).clamp_min(1e-9)
    hull_area = hull.clamp_min(0).prod(-1).clamp_min(1e-9)
    return shared / union - (hull_area - union) / hull_area


def area(boxes: Tensor) -> Tensor:
    """Return the area of `[...,4]` in square pixels; 0 where a box is inverted."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""


def to_box(values: Iterable[float]) -> Box:
    """Convert four numbers to a `Box`."""
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2


def from_xywh(values: Iterable[float]) -> Box:
    """Convert COCO's left, top, width and height to a `Box`."""
    x, y, width, height = values
    return x, y, x + width, y + height
