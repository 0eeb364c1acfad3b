"""What a detector's `Candidates` are for one image: what losses and goals look at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from detattack.core.boxes import Box, iou
from detattack.core.types import Candidates
from detattack.tasks.detection.matching import MATCH_IOU, SUPPRESS_IOU

NEIGHBORHOOD = 0.1
"""Candidates within this IoU below the predicate's also count: their boxes may move into it."""
MARGIN = 0.05
"""Logits by which a candidate should pass τ, so that rounding and NMS do not undo it."""
ROUNDING = 1e-6
"""By which a score or an IoU may differ from itself, computed in another way."""


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


@dataclass(frozen=True)
class Reach:
    """How far an output is driven from what it is.

    - down, up: logits below and above τ that scores are to reach
    - lead: logits by which another class is to be ahead
    - overlap: IoU down to which boxes are to move off their object
    """

    down: float
    up: float
    lead: float
    overlap: float


JUST_PAST = Reach(MARGIN, MARGIN, MARGIN, MATCH_IOU - 0.02)
"""For the nearest image on which the goal holds: past τ by as much as rounding and NMS need."""
FLOOR, CEILING = -4.0, 3.0
"""Logits that no detector's ranking reaches below, and above which nothing is gained."""


def for_ranking(score_threshold: float) -> Reach:
    """Return the reach of attacks on average precision, which ranks detections of any score: past every threshold."""
    tau = logit(score_threshold)
    return Reach(tau - FLOOR, CEILING - tau, 6.0, 0.3)


@dataclass(frozen=True, eq=False)
class ImageCandidates:
    """The A valid candidates of one image, K classes each, differentiable to the image.

    - boxes: `[A,1,4]` or `[A,K,4]`, xyxy in pixels
    - logits: `[A,K]`
    - anchors: `[A,4]`, where candidates come from; None: unknown
    - size: (height, width) of the image in pixels
    - score_threshold: τ
    - pull: how candidates are pulled onto an asked box
    - reach: how far the output is driven
    - known: what `at_objects` has found out
    """

    boxes: Tensor
    logits: Tensor
    anchors: Tensor | None
    size: tuple[int, int]
    score_threshold: float
    pull: Pull = WELL_PLACED
    reach: Reach = JUST_PAST
    known: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def tau(self) -> float:
        """τ as a logit: z = logit − τ."""
        return logit(self.score_threshold)

    @cached_property
    def relative(self) -> Tensor:
        """Return z = logit − logit(τ), `[A,K]`, differentiable whoever asks first."""
        with torch.enable_grad():
            return self.logits - self.tau

    def boxes_of(self, labels: Sequence[int] | None) -> Tensor:
        """Return the boxes of some labels, `[A,1|L,4]`; None: of all."""
        return self.boxes if self.boxes.shape[1] == 1 else self.boxes[:, columns(labels)]


def candidates_of(
    candidates: Candidates,
    i: int,
    size: tuple[int, int],
    score_threshold: float,
    pull: Pull,
    reach: Reach = JUST_PAST,
) -> ImageCandidates:
    """Return the candidates of image `i` of a batch, padding left out."""
    boxes, logits = candidates.boxes[i], candidates.logits[i]
    anchors = None if candidates.anchors is None else candidates.anchors[i]
    if candidates.valid is not None:
        valid = candidates.valid[i]
        boxes, logits = boxes[valid], logits[valid]
        anchors = None if anchors is None else anchors[valid]
    boxes = boxes.unsqueeze(1) if boxes.dim() == 2 else boxes
    return ImageCandidates(boxes, logits, anchors, size, score_threshold, pull, reach)


def best_at(seen: ImageCandidates, labels: Sequence[int], box: Box) -> Tensor:
    """Return the largest z_a over the candidates of some labels whose boxes match a box; −∞ where there is none."""
    there = iou(seen.boxes_of(labels), box_like(box, seen.boxes)) >= MATCH_IOU
    return seen.relative[:, columns(labels)].masked_fill(~there, -torch.inf).max()


def at_objects(seen: ImageCandidates, boxes: Sequence[Box], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return, for each candidate and each of O objects, z of the object's class and the IoU, `[A,O]` each."""
    key = tuple(boxes), tuple(labels)
    if key not in seen.known:
        with torch.enable_grad():  # whoever asks first
            seen.known[key] = _at_objects(seen, boxes, labels)
    return seen.known[key]


def _at_objects(seen: ImageCandidates, boxes: Sequence[Box], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
    chosen = torch.tensor(labels, dtype=torch.long, device=seen.logits.device)
    objects = torch.tensor(boxes, dtype=seen.boxes.dtype).reshape(-1, 4).to(seen.boxes.device)
    own = seen.boxes if seen.boxes.shape[1] == 1 else seen.boxes[:, chosen]
    return seen.logits[:, chosen] - seen.tau, iou(own, objects)


def targeted_logits(seen: ImageCandidates, labels: Sequence[int] | None, box: Box | None) -> Tensor:
    """Return z of some labels (None: of all), `[A,L]`, −∞ where a candidate is not near the box."""
    of_class = seen.relative[:, columns(labels)]
    if box is None:
        return of_class
    there = iou(seen.boxes_of(labels), box_like(box, seen.boxes)) >= SUPPRESS_IOU - NEIGHBORHOOD
    return of_class.masked_fill(~there, -torch.inf)


def seen_at_all(seen: ImageCandidates, labels: Sequence[int], boxes: Sequence[Box]) -> Tensor:
    """Whether at each of the boxes a candidate of the labels is above τ, bool scalar; a rounding error below counts."""
    own = seen.boxes_of(labels)
    either = torch.stack((own, clip_boxes_to_image(own, seen.size)))  # as `select` may have it
    above = seen.logits.sigmoid()[:, columns(labels)] >= seen.score_threshold - ROUNDING
    there = [above & (iou(either, box_like(box, own)) >= MATCH_IOU - ROUNDING) for box in boxes]
    return torch.stack(there).flatten(1).any(1).all()


def logit(score: float) -> float:
    """log(p / (1 − p)), finite for any score in [0,1]."""
    score = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score))


def columns(labels: Sequence[int] | None) -> slice | list[int]:
    """Return the columns of some labels in `[A,K]`, of one without a copy; None: of all."""
    if labels is None:
        return slice(None)
    return slice(labels[0], labels[0] + 1) if len(labels) == 1 else list(labels)


def box_like(box: Box, like: Tensor) -> Tensor:
    """Convert a box to `[4]`, of the dtype and on the device of `like`."""
    return _box_on(box, like.dtype, like.device)


@lru_cache(maxsize=1024)  # an attack asks for the same few again and again, and each is a copy to the device
def _box_on(box: Box, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(box, dtype=dtype, device=device)
