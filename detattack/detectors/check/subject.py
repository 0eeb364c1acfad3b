"""A detector and the pictures that it is judged by, each passed through it once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detattack.core.types import Detections
from detattack.detectors.base import Detector
from detattack.detectors.check.candidates import hidden_column, score_fault

ENOUGH = 20
"""Detections that an image must have to count as compared."""
THRESHOLDS = (0.05, 0.01, 1e-3, 1e-4, 0.0)
"""Tried one after the other, below the detector's own, until an image has enough detections."""


@dataclass(frozen=True, eq=False)
class BothInferences:
    """What `select` and `detect` find in one image.

    - selected: Detections of `select`.
    - detected: Detections of `detect`.
    - threshold: The score threshold of both: the highest one tried that lets `ENOUGH` detections through.
    - score_fault: What is wrong with the reported scores; "" for nothing.
    - column_fault: What is wrong with the columns of the candidates; "" for nothing.
    """

    selected: Detections
    detected: Detections
    threshold: float
    score_fault: str
    column_fault: str


@dataclass(frozen=True, eq=False)
class Subject:
    """A detector and its test pictures `[1,3,H,W]`; results are cached by picture."""

    detector: Detector
    pictures: list[Tensor]
    _cache: dict[int, BothInferences] = field(default_factory=dict)

    def results(self) -> Iterator[BothInferences]:
        """Yield the results of all pictures, in their order."""
        return map(self.result, range(len(self.pictures)))

    def result(self, number: int) -> BothInferences:
        """Return the results of one picture."""
        if number not in self._cache:
            self._cache[number] = run_both(self.detector, self.pictures[number])
        return self._cache[number]


@torch.no_grad()
def run_both(detector: Detector, image: Tensor) -> BothInferences:
    """Run `select` and `detect` on an image `[1,3,H,W]`."""
    candidates, floor = detector.candidates(image), detector.eval_threshold
    for threshold in (floor, *(t for t in THRESHOLDS if t < floor)):
        selected = detector.select(candidates, threshold)[0]
        if len(selected) >= ENOUGH:
            break
    detected = detector.detect(image, threshold)[0]
    wrong_score = score_fault(candidates, selected, "select") or score_fault(candidates, detected, "detect")
    hidden = "" if wrong_score else hidden_column(detector, candidates, selected, (image.shape[-2], image.shape[-1]))
    return BothInferences(selected, detected, threshold, wrong_score, hidden)
