"""The objective of an attack on a detector: from its `Candidates` to a loss per image, the goal's own."""

from functools import cache

import torch
from torch import Tensor

from detattack.core.faults import check_gradient
from detattack.core.types import Evaluation
from detattack.detectors.base import Detector
from detattack.tasks.detection.candidates import NEAREST, WELL_PLACED, ImageCandidates, candidates_of, logit
from detattack.tasks.detection.goals import Target


class DetectionObjective:
    """The loss and the predicate of a batch: one `Target` an image, all of one goal.

    Called with `(images [n,3,H,W], index [n])`. A success is proposed where the candidates leave it open and the
    detector's own `select` at τ, run for these alone, agrees.

    nearest: an injected box is pulled no further than the predicate asks for, instead of well onto its place.
    """

    def __init__(
        self, detector: Detector, targets: list[Target], score_threshold: float, nearest: bool = False
    ) -> None:
        self.detector = detector
        self.targets = targets
        self.pull = NEAREST if nearest else WELL_PLACED
        self.score_threshold = score_threshold
        self._logits = None if any(target.needs_boxes for target in targets) else getattr(detector, "logits", None)

    def __call__(self, images: Tensor, index: Tensor) -> Evaluation:
        """Evaluate images `[n,3,H,W]`, row i with the target `index[i]`."""
        targets = [self.targets[i] for i in index.tolist()]
        if self._logits is not None:
            logits = self._logits(images)
            check_gradient(self.detector.name, images, logits)
            return targets[0].goal.of_logits(targets[0], logits, self.score_threshold)
        candidates = self.detector.candidates(images, _asked_boxes(targets, images))
        check_gradient(self.detector.name, images, candidates.logits)
        size = (images.shape[-2], images.shape[-1])
        seen = [candidates_of(candidates, i, size, self.score_threshold, self.pull) for i in range(len(targets))]
        found = cache(lambda: self.detector.select(candidates, self.score_threshold))
        return Evaluation(
            loss=torch.stack([_loss(target, one) for target, one in zip(targets, seen, strict=True)]),
            success=torch.stack([_possible(target, one) for target, one in zip(targets, seen, strict=True)]),
            confidence=torch.stack([_confidence(target, one) for target, one in zip(targets, seen, strict=True)]),
            agrees=lambda i: targets[i].holds(found()[i]),
        )

    def confirm(self, image: Tensor, index: int) -> bool:
        """Whether the goal holds for `[3,H,W]` by the detector's official inference in float32."""
        found = self.detector.detect(image[None].float(), self.score_threshold)[0]
        return self.targets[index].holds(found.above(self.score_threshold))


def _loss(target: Target, seen: ImageCandidates) -> Tensor:
    """Scalar; 0 where the detector proposes nothing at all."""
    return target.loss(seen) if len(seen.logits) else seen.logits.sum()


@torch.no_grad()
def _possible(target: Target, seen: ImageCandidates) -> Tensor:
    return target.goal.possible(target, seen)


@torch.no_grad()
def _confidence(target: Target, seen: ImageCandidates) -> Tensor:
    """Return the score that the goal is about, scalar."""
    if not len(seen.logits):
        return seen.logits.new_zeros(())
    return torch.sigmoid(target.goal.margin(target, seen) + logit(seen.score_threshold))


def _asked_boxes(targets: list[Target], images: Tensor) -> Tensor | None:
    """Return the boxes that two-stage heads should also score: `[N,1,4]`, or None where a target asks for none."""
    boxes = [target.goal.asked_box(target) for target in targets]
    return None if None in boxes else torch.tensor(boxes).to(images)[:, None]
