"""A detector around a function that says of each box how likely each class is."""

import logging
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.log_odds import are_scores

Function = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes images `[N,3,H,W]` in [0,1]; returns boxes `[N,A,4]`, xyxy in their pixels, and logits or scores `[N,A,K]`."""
MOST = 100
"""Detections of an image at most."""
MANY = 100
"""So many logits do not all lie in [0,1] by chance."""
log = logging.getLogger(__name__)


class FunctionDetector:
    """Adapter of a function, with threshold, NMS a class and clipping for post-processing."""

    expected_ap = None

    def __init__(
        self,
        name: str,
        function: Function,
        categories: Sequence[Category],
        device: torch.device,
        *,
        scores: bool = False,
        eval_threshold: float = 0.05,
        nms_iou: float | None = 0.5,
    ) -> None:
        """Wrap the function.

        - name: what reports call the detector
        - function: differentiable with respect to the images
        - categories: of the K columns
        - device: where the function wants its images
        - scores: whether it returns scores in [0,1] and not logits
        - eval_threshold: the lowest score that counts for AP
        - nms_iou: IoU above which the lower one of two detections of a class goes; None: none goes
        """
        self.name = name
        self.function = function
        self.categories = tuple(categories)
        self.device = device
        self.eval_threshold = eval_threshold
        self._scores = scores
        self._nms_iou = nms_iou

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every box of the function. `extra_boxes` are ignored."""
        boxes, classes = self.function(images)
        if boxes.shape[:2] != classes.shape[:2] or boxes.shape[2:] != (4,) or classes.shape[2:] != self._columns:
            got = f"boxes {list(boxes.shape)} and classes {list(classes.shape)}"
            raise ValueError(f"{self.name}: expected [N,A,4] and [N,A,{len(self.categories)}], got {got}")
        if self._scores and not are_scores(classes):
            low, high = classes.detach().aminmax()
            raise ValueError(
                f"{self.name}: its scores are from {low:.3g} to {high:.3g}, not in [0,1]; are they logits?"
            )
        logits = log_odds.of_score(classes) if self._scores else classes
        return Candidates(boxes, logits, state=tuple(images.shape[-2:]))

    @property
    def _columns(self) -> tuple[int]:
        return (len(self.categories),)

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Keep each class of each box above the threshold, then the best of those that overlap, inside the image."""
        found = []
        for boxes, logits in zip(candidates.boxes.detach(), candidates.logits.detach(), strict=True):
            scores = logits.sigmoid()
            row, label = (scores > score_threshold).nonzero(as_tuple=True)
            inside, kept = clip_boxes_to_image(boxes[row], candidates.state).float(), scores[row, label].float()
            best = self._best(inside, kept, label)
            found.append(Detections(inside[best], kept[best], label[best]))
        return found

    def _best(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        order = scores.argsort(descending=True, stable=True)
        return (order if self._nms_iou is None else batched_nms(boxes, scores, labels, self._nms_iou))[:MOST]

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the function in float32, and `select`."""
        candidates = self.candidates(images.to(self.device, torch.float32))
        if not self._scores and candidates.logits.numel() >= MANY and are_scores(candidates.logits):
            _warn_of_scores(self.name)
        return self.select(candidates, score_threshold)


@cache
def _warn_of_scores(name: str) -> None:
    """Warn, once, of a function whose logits look like scores: their sigmoid would find everything."""
    log.warning("%s: all its logits are from 0 to 1; if they are scores, pass scores=True", name)
