"""The official inference of a detector on one image, checked against the contract."""

import torch
from torch import Tensor

from detattack.core.precision import fixed_numerics
from detattack.core.types import Detections
from detattack.detectors.base import Detector
from detattack.detectors.parts.log_odds import are_scores
from detattack.tasks.detection.config import DetectionConfig


@fixed_numerics(gradient=False)
def detected(detector: Detector, config: DetectionConfig, image: Tensor) -> Detections:
    """Detect what is in `[3,H,W]`, on the CPU, down to the detector's own threshold, or τ where that is lower.

    Raises ValueError for what breaks the contract of a detector.
    """
    floor = min(detector.eval_threshold, config.score_threshold)
    found = detector.detect(image[None].to(detector.device), floor)[0].cpu()
    if not (found.boxes.isfinite().all() and found.scores.isfinite().all()):
        raise ValueError("the model's detections are not finite")
    if not are_scores(found.scores):
        raise ValueError(f"the model's scores, {float(found.scores.max()):.3g} at most, are not all from 0 to 1")
    if len(found) and not 0 <= found.labels.min() <= found.labels.max() < len(detector.categories):
        raise ValueError(f"the model's labels are not all from 0 to {len(detector.categories) - 1}")
    return found


@torch.no_grad()
def check_scores(detector: Detector, image: Tensor) -> None:
    """Raise ValueError where a detector gives no numbers for `[1,3,H,W]`: NaN is above no threshold."""
    candidates = detector.candidates(image)
    logits = candidates.logits if candidates.valid is None else candidates.logits[candidates.valid]
    if logits.isnan().any():
        raise ValueError("the model's scores are NaN")
