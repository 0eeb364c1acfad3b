"""Objectives: from a detector's `Candidates` to a loss per image, without any knowledge of one detector.

A candidate counts as long as it could become the detection in question, not only where it is the top one:
pressing the top one down exposes its neighbors. Losses are in logits relative to the threshold τ, so they
say how far from the decision a candidate is.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from detattack.core.boxes import Box, giou, iou
from detattack.core.faults import check_gradient
from detattack.core.types import Candidates, Evaluation
from detattack.detectors.base import Detector
from detattack.tasks.detection.goals import MATCH_IOU, SUPPRESS_IOU, Target, achieved

SHARPNESS = 10.0
"""Of the smooth hinge: candidates this side of ±1/SHARPNESS logits around τ share the gradient."""
MARGIN = 0.05
"""Logits by which a candidate should pass τ, so that rounding and NMS do not undo it."""
NEIGHBORHOOD = 0.1
"""Candidates within this IoU below the predicate's also count: their boxes may move into it."""
PULLED = 20
"""How many candidates are pulled onto an asked box; the best of them leads."""
ROUNDING = 1e-6
"""By which a score may differ from itself, computed in another way."""


@dataclass(frozen=True)
class Pull:
    """How candidates are pulled onto an asked box.

    box_weight: of the box term (1 − GIoU) against a logit. slack: GIoU above which a box is close enough and the box
    term rests. sharpness: of the soft minimum over the candidates; the larger, the more the best one is pulled alone.
    """

    box_weight: float
    slack: float
    sharpness: float


WELL_PLACED = Pull(6.0, 0.9, 1.0)
"""For attacks that stop at their first success: several candidates, well onto their place."""
NEAREST = Pull(2.0, MATCH_IOU + 0.01, 10.0)
"""For the nearest image that meets the goal: one candidate, just inside of what the predicate asks for."""


class DetectionObjective:
    """The loss and the predicate of a batch: one `Target` an image, all of one goal.

    Called with `(images [n,3,H,W], index [n])`. A success is proposed where the candidates leave it open and the
    detector's own `select` at τ, run for these alone, agrees.

    nearest: an injected box is pulled no further than the predicate asks for, instead of well onto its place.
    """

    def __init__(self, detector: Detector, targets: list[Target], score_threshold: float, nearest: bool = False):
        self.detector = detector
        self.targets = targets
        self.pull = NEAREST if nearest else WELL_PLACED
        self.score_threshold = score_threshold
        self.threshold_logit = _logit(score_threshold)
        self._logits = getattr(detector, "logits", None) if all(map(_asks_for_no_box, targets)) else None

    def __call__(self, images: Tensor, index: Tensor) -> Evaluation:
        if self._logits is not None:
            logits = self._logits(images)
            check_gradient(self.detector.name, images, logits)
            return self._of_logits(logits)
        targets = [self.targets[i] for i in index.tolist()]
        candidates = self.detector.candidates(images, _asked_boxes(targets, images))
        check_gradient(self.detector.name, images, candidates.logits)
        of_images = [_of_image(candidates, i) for i in range(len(targets))]
        losses, confidences = zip(*map(self._loss, targets, *zip(*of_images, strict=True)), strict=True)
        possible = [self._possible(t, *one[:2], images.shape) for t, one in zip(targets, of_images, strict=True)]
        found = cache(lambda: self.detector.select(candidates, self.score_threshold))
        return Evaluation(
            torch.stack(losses),
            torch.stack(possible),
            torch.stack(confidences).detach(),
            lambda i: achieved(targets[i], found()[i]),
        )

    def confirm(self, image: Tensor, index: int) -> bool:
        """Whether the goal holds for `[3,H,W]` by the detector's official inference in float32."""
        found = self.detector.detect(image[None].float(), self.score_threshold)[0]
        return achieved(self.targets[index], found.above(self.score_threshold))

    def _of_logits(self, logits: Tensor) -> Evaluation:
        """Suppression anywhere in the images, from `[n,A,K]` alone: above τ each is a detection."""
        of_class = logits[..., _columns(self.targets[0].label)]
        confidence = of_class.detach().amax((1, 2)).sigmoid()
        loss = smooth_hinge(of_class + (MARGIN - self.threshold_logit)).sum((1, 2))
        return Evaluation(loss, confidence <= self.score_threshold, confidence)

    @torch.no_grad()
    def _possible(self, target: Target, boxes: Tensor, logits: Tensor, shape: torch.Size) -> Tensor:
        """Whether `select` may find the goal reached, a bool scalar: never False where it does."""
        scores = logits.sigmoid()
        if target.kind == "suppress":
            everything = target.label is None and target.box is None
            return (scores <= self.score_threshold + ROUNDING).all() if everything else scores.new_ones(()).bool()
        label = target.label if target.kind == "inject" else target.new_label
        places = [target.box] if target.kind == "inject" else target.objects
        own = _class_boxes(boxes, _columns(label))[:, :1]
        either = torch.cat((own, clip_boxes_to_image(own, (shape[-2], shape[-1]))), 1)  # as `select` may have it
        seen = scores[:, label, None] >= self.score_threshold - ROUNDING
        there = [seen & (iou(either, _box(place, own)) >= MATCH_IOU - ROUNDING) for place in places]
        return torch.stack(there).flatten(1).any(1).all()

    def _loss(self, target: Target, boxes: Tensor, logits: Tensor, anchors: Tensor | None):
        """Loss and confidence, scalars, from boxes `[A,1|K,4]`, logits `[A,K]` and anchors `[A,4]`."""
        if not len(logits):  # no proposal at all
            return logits.sum(), logits.new_zeros(())
        relative = logits - self.threshold_logit
        if target.kind == "suppress":
            loss, confidence = _suppress(target, boxes, relative)
        elif target.kind == "inject":
            loss, confidence = _inject(target.label, target.box, boxes, relative, anchors, self.pull)
        else:
            loss, confidence = _mislabel(target, boxes, relative, anchors, self.pull)
        for label, box in target.kept:
            loss = loss + _keep(label, box, boxes, relative)
        return loss, torch.sigmoid(confidence + self.threshold_logit)


def _asks_for_no_box(target: Target) -> bool:
    return target.kind == "suppress" and target.box is None and not target.kept


def _suppress(target: Target, boxes: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
    """Σ of the smooth hinge over every candidate, of every targeted class, near the box if there is one."""
    columns = _columns(target.label)
    of_class = relative[:, columns]
    if target.box is not None:
        near = iou(_class_boxes(boxes, columns), _box(target.box, boxes)) >= SUPPRESS_IOU - NEIGHBORHOOD
        of_class = of_class.masked_fill(~near, -torch.inf)
    return smooth_hinge(of_class + MARGIN).sum(), of_class.max()


def _inject(
    label: int | None, box: Box | None, boxes: Tensor, relative: Tensor, anchors: Tensor | None, pull: Pull
) -> tuple[Tensor, Tensor]:
    """Pulls scores up and boxes onto the asked one, for the candidates that best cover it.

    The one nearest to the goal leads (a soft minimum over the pulled), since one detection is all it takes.
    """
    wanted = _box(box, boxes)
    own = _class_boxes(boxes, _columns(label))[:, 0]
    cover = iou(own, wanted).detach()
    start = cover if anchors is None else iou(anchors, wanted).detach()
    nearest = (cover + start).topk(min(PULLED, len(cover))).indices
    overlap = iou(own[nearest], wanted)
    box_term = (pull.slack - giou(own[nearest], wanted)).clamp_min(0)
    scores = relative[nearest, label]
    loss = _soft_minimum(smooth_hinge(MARGIN - scores) + pull.box_weight * box_term, pull.sharpness)
    there = cover >= MATCH_IOU
    confidence = relative[:, label].masked_fill(~there, -torch.inf).max()
    return loss + _crowding(own, relative[:, label], overlap, nearest, wanted), confidence


def _crowding(own: Tensor, scores: Tensor, overlap: Tensor, nearest: Tensor, wanted: Tensor) -> Tensor:
    """Presses down same-class candidates that would swallow the injected box in NMS without being at the place.

    Those that are pulled onto the place themselves are left alone.
    """
    lead = own.detach().index_select(0, nearest.index_select(0, overlap.argmax().view(1)))[0]  # the host waits for none
    swallows = (iou(own, lead) >= MATCH_IOU - NEIGHBORHOOD) & (iou(own, wanted) < MATCH_IOU)
    swallows = swallows.index_fill(0, nearest, False)
    return smooth_hinge(scores + MARGIN).masked_fill(~swallows, 0.0).sum()


def _mislabel(
    target: Target, boxes: Tensor, relative: Tensor, anchors: Tensor | None, pull: Pull
) -> tuple[Tensor, Tensor]:
    """The old class down and the new one up, at the same objects."""
    own = _class_boxes(boxes, _columns(target.label))[:, 0]
    loss, confidence = relative.new_zeros(()), relative.new_full((), torch.inf)
    for box in target.objects:
        near = iou(own, _box(box, boxes)) >= MATCH_IOU - NEIGHBORHOOD
        old = smooth_hinge(relative[:, target.label] + MARGIN).masked_fill(~near, 0.0).sum()
        new, reached = _inject(target.new_label, box, boxes, relative, anchors, pull)
        loss, confidence = loss + old + new, torch.minimum(confidence, reached)
    return loss, confidence


def _keep(label: int, box: Box, boxes: Tensor, relative: Tensor) -> Tensor:
    """A hinge on the best candidate of a detection that is to stay."""
    own = _class_boxes(boxes, _columns(label))[:, 0]
    near = iou(own, _box(box, boxes)) >= MATCH_IOU
    best = relative[:, label].masked_fill(~near, -torch.inf).max()
    return torch.where(best.isfinite(), smooth_hinge(MARGIN - best), 0.0)


def smooth_hinge(relative: Tensor) -> Tensor:
    """softplus with `SHARPNESS`: about max(0, relative), with a gradient on both sides of 0."""
    return F.softplus(relative, beta=SHARPNESS)


def _soft_minimum(values: Tensor, sharpness: float) -> Tensor:
    """−log mean exp(−s·v) / s: between the minimum and the mean; its gradient goes mostly to the smallest."""
    return (math.log(len(values)) - torch.logsumexp(-sharpness * values, 0)) / sharpness


def _logit(score: float) -> float:
    score = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score))


def _of_image(candidates: Candidates, i: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Boxes `[A,1|K,4]`, logits `[A,K]`, anchors `[A,4]` of one image, padding left out."""
    boxes, logits = candidates.boxes[i], candidates.logits[i]
    anchors = None if candidates.anchors is None else candidates.anchors[i]
    if candidates.valid is not None:
        valid = candidates.valid[i]
        boxes, logits = boxes[valid], logits[valid]
        anchors = None if anchors is None else anchors[valid]
    return boxes.unsqueeze(1) if boxes.dim() == 2 else boxes, logits, anchors


def _columns(label: int | None) -> slice:
    return slice(None) if label is None else slice(label, label + 1)


def _class_boxes(boxes: Tensor, columns: slice) -> Tensor:
    """`[A,1|K,4]` restricted to the columns of some classes, where the boxes differ by class."""
    return boxes if boxes.shape[1] == 1 else boxes[:, columns]


def _box(box: Box | None, like: Tensor) -> Tensor:
    return torch.tensor(box, dtype=like.dtype).to(like.device)


def _asked_boxes(targets: list[Target], images: Tensor) -> Tensor | None:
    """The boxes that two-stage heads should also score: `[N,1,4]`, or None where no box is asked for."""
    if any(t.kind != "inject" or t.box is None for t in targets):
        return None
    return torch.tensor([t.box for t in targets]).to(images)[:, None]
