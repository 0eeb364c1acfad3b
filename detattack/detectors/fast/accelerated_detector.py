"""A detector as the attack loop sees it: candidates from the accelerated copy, decisions from the model itself."""

from typing import Any

import torch
from torch import Tensor

from detattack.core.precision import Precision, fixed_numerics
from detattack.core.types import Candidates, Detections
from detattack.core.wording import counted
from detattack.detectors.base import Detector
from detattack.detectors.fast.accelerated_copy import accelerated_copy
from detattack.detectors.fast.local_gradients import Defined

PROBE_SIDE = 128
"""Sides of the image on which a detector is probed, in pixels; most detectors resize it."""


class AcceleratedDetector:
    """A detector whose candidates come from an accelerated copy. `detect` is the model's own inference, in float32.

    - logits: The copy's shortcut, where its adapter has one, else None; see `Detector`.
    """

    def __init__(self, official: Detector, precision: Precision = "fp32") -> None:
        """Make the copy, or take the one that exists already.

        - official: The detector to attack.
        - precision: Precision of the copy's networks.
        """
        copied = accelerated_copy(official, _probe, precision, local=True)
        self.name, self.categories, self.device = official.name, official.categories, official.device
        self.eval_threshold = official.eval_threshold
        logits = getattr(copied, "logits", None)
        self.logits = None if logits is None else lambda images: logits(Defined.apply(images))
        self._official, self._copy = official, copied

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return the candidates of the copy."""
        return self._copy.candidates(Defined.apply(images), extra_boxes)

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Select detections as the copy does."""
        return self._copy.select(candidates, score_threshold)

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the official inference of the model itself."""
        with fixed_numerics(gradient=False):
            return self._official.detect(images, score_threshold)


def _probe(detector: Any) -> None:
    image = torch.rand(1, 3, PROBE_SIDE, PROBE_SIDE, generator=torch.Generator().manual_seed(0)).to(detector.device)
    detector.candidates(image)
    if getattr(detector, "logits", None):
        detector.logits(image)
