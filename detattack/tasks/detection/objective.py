"""The objective of an attack on a detector: from its `Candidates` to a loss per image, the goal's own."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from detattack.core.faults import check_gradient
from detattack.core.types import Candidates, Evaluation
from detattack.detectors.base import Detector
from detattack.tasks.detection.candidates import (
    JUST_PAST,
    NEAREST,
    WELL_PLACED,
    ImageCandidates,
    candidates_of,
    for_ranking,
    logit,
)
from detattack.tasks.detection.goals import Goal, Target


class DetectionObjective:
    """The loss and the predicate of a batch: one `Target` an image, all of one goal.

    Called with `(images [n,3,H,W], index [n])`. A success is proposed where the candidates leave it open and the
    detector's own `select` at τ, run for these alone, agrees.

    - nearest: an injected box is pulled no further than the predicate asks for, instead of well onto its place
    - worst: a budget is spent on doing harm, whatever τ
    - losses: names of registered losses; none: the goal's own
    - members: those losses that `ensemble` takes one by one; reserve: those of them that wait
    """

    def __init__(
        self,
        detector: Detector,
        targets: list[Target],
        score_threshold: float,
        nearest: bool = False,
        worst: bool = False,
        losses: Sequence[str] = (),
    ) -> None:
        self.detector = detector
        self.targets = targets
        self.pull = NEAREST if nearest else WELL_PLACED
        self.score_threshold = score_threshold
        self.worst = worst
        self.reach = for_ranking(score_threshold) if worst else JUST_PAST
        self.losses = tuple(losses)
        self.members = targets[0].goal.members_of(losses)
        self.reserve = () if losses else targets[0].goal.reserve
        boxes = worst or losses or any(target.needs_boxes for target in targets)
        self._logits = None if boxes else getattr(detector, "logits", None)

    def __call__(self, images: Tensor, index: Tensor, members: Sequence[int] | None = None) -> Evaluation:
        """Evaluate images `[n,3,H,W]`, row i with the target `index[i]`; members: its loss alone, of `members`."""
        targets = [self.targets[i] for i in index.tolist()]
        if self._logits is not None:
            logits = self._logits(images)
            check_gradient(self.detector.name, images, logits)
            return targets[0].goal.of_logits(targets[0], logits, self.score_threshold)
        candidates = self.detector.candidates(images, _asked_boxes(targets, images))
        check_gradient(self.detector.name, images, candidates.logits)
        seen = [self._seen(candidates, i, images) for i in range(len(targets))]
        losses = [self.losses if members is None else (self.members[members[i]],) for i in range(len(targets))]
        found = cache(lambda: [one.cpu() for one in self.detector.select(candidates, self.score_threshold)])
        above = torch.stack([_above(target, one) for target, one in zip(targets, seen, strict=True)])
        return Evaluation(
            loss=torch.stack([_loss(*these) for these in zip(targets, seen, losses, strict=True)]),
            success=torch.stack([_possible(target, one) for target, one in zip(targets, seen, strict=True)]),
            confidence=torch.sigmoid(above + logit(self.score_threshold)),
            agrees=lambda i: targets[i].holds(found()[i]),
            harm=self._harm_of(candidates, targets) if self.worst else None,
            margin=-above if targets[0].goal.rises else above,
        )

    def _seen(self, candidates: Candidates, i: int, images: Tensor) -> ImageCandidates:
        size = (images.shape[-2], images.shape[-1])
        return candidates_of(candidates, i, size, self.score_threshold, self.pull, self.reach)

    def _harm_of(self, candidates: Candidates, targets: list[Target]) -> Callable[[], Tensor] | None:
        """Return what tells the harm of a batch; None where the goal leaves that to the loss."""
        if type(targets[0].goal).harm is Goal.harm:
            return None

        def harm() -> Tensor:
            found = self.detector.select(candidates, self.detector.eval_threshold)
            told = [target.goal.harm(target, one.cpu()) for target, one in zip(targets, found, strict=True)]
            return torch.tensor(told, dtype=torch.float64)

        return harm

    def confirm(self, image: Tensor, index: int) -> bool:
        """Whether the goal holds for `[3,H,W]` by the detector's official inference in float32."""
        found = self.detector.detect(image[None].float(), self.score_threshold)[0]
        return self.targets[index].holds(found.above(self.score_threshold))

    def answer(self, image: Tensor, index: int) -> tuple[float, bool]:
        """Tell the harm of `[3,H,W]`, and whether the goal holds, by the official inference alone: no gradient.

        Where the goal tells no harm, it is how far the score that the goal is about has fallen, or risen.
        """
        floor, target = min(self.detector.eval_threshold, self.score_threshold), self.targets[index]
        found = self.detector.detect(image[None].float(), floor)[0].cpu()
        harm = target.goal.harm(target, found)
        if harm is None:
            confidence = target.goal.confidence(target, found)
            harm = confidence if target.goal.rises else -confidence
        return harm, target.holds(found.above(self.score_threshold))


def _loss(target: Target, seen: ImageCandidates, losses: Sequence[str]) -> Tensor:
    """Scalar; 0 where the detector proposes nothing at all. Losses of boxes that do not move have a gradient of 0."""
    loss = target.loss(seen, losses) if len(seen.logits) else seen.logits.sum()
    return loss if loss.requires_grad else loss + 0 * seen.logits.sum()


@torch.no_grad()
def _possible(target: Target, seen: ImageCandidates) -> Tensor:
    return target.goal.possible(target, seen)


@torch.no_grad()
def _above(target: Target, seen: ImageCandidates) -> Tensor:
    """Return the logit that the goal is about, relative to τ, scalar; −∞ where there is no candidate."""
    if not len(seen.logits):
        return seen.logits.new_full((), -torch.inf)
    return target.goal.margin(target, seen)


def _asked_boxes(targets: list[Target], images: Tensor) -> Tensor | None:
    """Return the boxes that two-stage heads should also score: `[N,1,4]`, or None where a target asks for none."""
    boxes = [target.goal.asked_box(target) for target in targets]
    return None if None in boxes else torch.tensor(boxes).to(images)[:, None]
