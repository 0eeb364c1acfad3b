"""The types that rooms exchange. Images are float RGB `[N,3,H,W]` in [0,1] at native size, everywhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

DEFAULT_SCORE_THRESHOLD = 0.5
"""τ: the score above which a detection counts as shown or acted upon, by default."""
DEFAULT_MAX_DETECTIONS = 100
"""How many detections of one class and image count for AP; COCO's own number."""


@dataclass(frozen=True)
class Category:
    """A class of a detector.

    - name: its name
    - coco_id: its id in COCO's annotation files (1-90 with gaps)
    """

    name: str
    coco_id: int


@dataclass(frozen=True)
class DetectorCard:
    """What a finished run records of its detector, readable without loading it. See `Detector` for the other fields.

    expected_ap: the AP on COCO val2017 that the model's own card states, 0-1; None: it states none. A detector may have
    an attribute of this name.
    """

    name: str
    categories: tuple[Category, ...]
    eval_threshold: float
    expected_ap: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The detections of one image; there may be none (M = 0), and the tensors are never None.

    - boxes: float32 `[M,4]`, xyxy in pixels of the given image
    - scores: float32 `[M]` in [0,1]
    - labels: int64 `[M]`, indices into `detector.categories`
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Check shapes and kinds of numbers, which needs no values. Raises `ValueError`."""
        tensors = self.boxes, self.scores, self.labels
        count = self.scores.shape[:1]
        fits = self.boxes.shape == (*count, 4) and self.scores.shape == self.labels.shape == count and len(count) == 1
        floats = self.boxes.is_floating_point() and self.scores.is_floating_point()
        if not (fits and floats and self.labels.dtype == torch.int64):
            got = ", ".join(f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.") for tensor in tensors)
            raise ValueError(f"boxes, scores and labels are not float [M,4], float [M] and int64 [M] but {got}")

    def __len__(self) -> int:
        return self.scores.numel()

    def __repr__(self) -> str:
        scores = f", scores {float(self.scores.min()):.2f} to {float(self.scores.max()):.2f}" if len(self) else ""
        return f"Detections({len(self)}{scores})"

    def above(self, score_threshold: float) -> "Detections":
        """Return the detections with a score strictly above the threshold."""
        keep = self.scores > score_threshold
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep])

    def of(self, labels: int | Sequence[int] | None) -> "Detections":
        """Return the detections of one class, or of several; None: all."""
        if labels is None:
            return self
        keep = self.are_of(labels)
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep])

    def are_of(self, labels: int | Sequence[int] | None) -> Tensor:
        """Tell which detections are of one class, or of several, bool `[M]`; None: all."""
        if labels is None:
            return torch.ones_like(self.labels, dtype=torch.bool)
        return torch.isin(self.labels, torch.as_tensor(labels, device=self.labels.device))

    def cpu(self) -> "Detections":
        """Return the same detections on the CPU."""
        return Detections(self.boxes.cpu(), self.scores.cpu(), self.labels.cpu())


@dataclass(frozen=True, eq=False, repr=False)
class Candidates:
    """Everything that a detector considers before thresholding and NMS, differentiable with respect to the images.

    - boxes: `[N,A,4]` xyxy in pixels, or `[N,A,K,4]` (a box per class)
    - logits: `[N,A,K]`; `sigmoid(logits)` is the score that the detector thresholds
    - valid: bool `[N,A]`, False for padding; None: all are valid
    - anchors: `[N,A,4]`, the anchor box of each candidate, in pixels; None: unknown
    - state: whatever the adapter's own `select` needs (levels, image sizes)
    """

    boxes: Tensor
    logits: Tensor
    valid: Tensor | None = None
    anchors: Tensor | None = None
    state: Any = None

    def __repr__(self) -> str:
        return f"Candidates(boxes {list(self.boxes.shape)}, logits {list(self.logits.shape)})"


def _always(row: int) -> bool:
    return True


WHOLLY_WRONG = 1000.0
"""Harm of an output of which nothing is right; what is false besides adds to it, and makes less than that."""


def short_of_wrong(harm: Tensor) -> Tensor:
    """Return harms in the same order below `WHOLLY_WRONG`, those up to half of it as they are.

    For what has no end and says nothing of what is right: a negative loss, or a number of false detections.
    """
    half = WHOLLY_WRONG / 2
    return torch.where(harm > half, WHOLLY_WRONG - half**2 / harm.clamp_min(half), harm)


class Evaluation(NamedTuple):
    """The objective of a batch at the current images.

    - loss: `[N]`, minimized
    - success: bool `[N]`, a proposal
    - confidence: `[N]`, the score that the goal is about: the highest targeted detection that is to vanish, or the best
      detection that is to appear
    - agrees: whether the model's own post-processing supports the success proposed for a row; too expensive to ask for
      every image
    - harm: returns `[N]` on the host, how wrong the output is, the larger the worse, from `WHOLLY_WRONG` on where
      nothing is right: what an attack that spends a budget keeps the worst of. None: the less the loss, the worse
    - passes: how many forward passes of the model the evaluation of each image took
    - margin: `[N]`, by how much the score that the goal is about misses it, in logits; where it is below 0 the goal may
      hold. None: not told
    """

    loss: Tensor
    success: Tensor
    confidence: Tensor
    agrees: Callable[[int], bool] = _always
    harm: Callable[[], Tensor] | None = None
    passes: int = 1
    margin: Tensor | None = None

    def worst_is(self) -> Tensor:
        """Return `harm`, `[N]` on the host."""
        if self.harm is not None:
            return self.harm()
        return short_of_wrong(-self.loss.detach().cpu().double())  # MPS has no float64
