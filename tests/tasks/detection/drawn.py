"""Detections and outcomes that figures are drawn of."""

import numpy as np
import torch

from detattack.core.types import Detections
from detattack.runs.record import Outcome
from detattack.tasks.detection.record import DetectionRecord, as_lists

NAMES = ["person", "car", "wine glass"]


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Detections from rows of x1, y1, x2, y2, score, label."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def drawn(original: np.ndarray, adversarial: np.ndarray, clean: Detections, attacked: Detections, **more) -> Outcome:
    """The outcome of an attack on an image. more: fields of its record."""
    lists = {"clean": as_lists(clean), "adversarial": as_lists(attacked)}
    return Outcome(DetectionRecord(1, "a", "a.png", "success", **lists, **more), original, b"png", adversarial)
