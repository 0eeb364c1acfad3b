"""A detector as the attack loop sees it: candidates from the twin, decisions from the model itself."""

from typing import Any

import torch
from torch import Tensor

from detattack.core.precision import Precision, fixed_numerics
from detattack.core.types import Candidates, Detections
from detattack.detectors.base import Detector
from detattack.detectors.fast.twin import twin_of

SIDE = 128
"""Of the image that a detector is tried on, in pixels; most resize it."""


class FastDetector:
    """A detector whose candidates come from its twin. `detect` is the model's own inference, in float32.

    logits: of the twin, where its adapter has that shortcut, else None; see `Detector`.
    """

    def __init__(self, official: Detector, precision: Precision = "fp32"):
        twin = twin_of(official, _look, precision)
        self.name, self.categories, self.device = official.name, official.categories, official.device
        self.eval_threshold = official.eval_threshold
        self.logits = getattr(twin, "logits", None)
        self._official, self._twin = official, twin

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.categories)} classes, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """The twin's."""
        return self._twin.candidates(images, extra_boxes)

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """The twin's."""
        return self._twin.select(candidates, score_threshold)

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """The model's own."""
        with fixed_numerics(gradient=False):
            return self._official.detect(images, score_threshold)


def _look(detector: Any) -> None:
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(detector.device)
    detector.candidates(image)
    if getattr(detector, "logits", None):
        detector.logits(image)
