"""Two-stage detectors: a network that proposes regions, and a head that names them.

The candidates are the head's outputs for every region that the model proposes in this image, each with all classes,
nothing thresholded or suppressed. Every detection comes from one of them, so that suppression cannot leave a hidden
one: a region that comes up as others go down is among the candidates of the next iteration, and `select` finds
something while one of them is above the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from detattack.core.boxes import iou_matrix
from detattack.core.types import Candidates
from detattack.detectors.parts.head_columns import Columns

NEAREST = 10
"""Regions a step short of being proposed that are looked at for each asked box."""


@dataclass(frozen=True, eq=False)
class HeadState:
    """State that `select` needs.

    - image_size: `(H,W)`.
    - scale: Factors `[4]` from the resized image to it.
    - proposed: Bool `[N,A]`, which candidates are the model's own proposals.
    - unnamed_logits, unnamed_boxes: Outputs of the head's unnamed columns.
    """

    image_size: tuple[int, int]
    scale: Tensor
    proposed: Tensor
    unnamed_logits: Tensor
    unnamed_boxes: Tensor


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one image.

    - boxes: `[A,4]` in the resized image.
    - proposed: How many of them, the first ones, are the model's own proposals.
    - margins: `[A − proposed]`, the objectness of the others minus what they need to be proposed.
    """

    boxes: Tensor
    proposed: int
    margins: Tensor


@dataclass(frozen=True)
class ProposalRule:
    """The conditions under which a region is proposed.

    - nms: IoU with a better region, at most.
    - per_level: Its rank within its level, at most.
    - in_all: Its rank among all levels, at most.
    - lowest: Its objectness (logit), at least.
    """

    nms: float
    per_level: int
    in_all: int
    lowest: float


def with_nearest(
    kept: Tensor,
    kept_objectness: Tensor,
    boxes: Tensor,
    objectness: Tensor,
    asked: Tensor,
    level_sizes: list[int],
    rule: ProposalRule,
) -> Regions:
    """Return the proposals, and the regions that best cover the asked boxes with their margins.

    Boxes are in the resized image; objectness is in logits, with a gradient.

    - kept: The model's proposals `[P,4]`.
    - kept_objectness: `[P]`.
    - boxes: All regions `[T,4]`, by level.
    - objectness: `[T]`.
    - asked: Boxes `[E,4]` to cover.
    - level_sizes: Regions of each level.
    - rule: When the model proposes a region.
    """
    near = iou_matrix(boxes, asked).topk(min(NEAREST, len(boxes)), dim=0).indices.flatten().unique()
    floor = kept_objectness.min() if len(kept) >= rule.in_all else objectness.new_tensor(rule.lowest)
    of_level = torch.cat([_bar(one, rule.per_level) for one in objectness.detach().split(level_sizes)])
    rivals = torch.where(iou_matrix(boxes[near], kept) > rule.nms, kept_objectness, floor)
    bar = torch.maximum(rivals.amax(1) if len(kept) else floor, of_level[near])
    return Regions(torch.cat((kept, boxes[near])), len(kept), objectness[near] - bar)


def candidates_of(
    regions: Sequence[Regions], columns: Columns, logits: Tensor, boxes: Tensor, scale: Tensor, size: tuple[int, int]
) -> Candidates:
    """Return the candidates of a batch, padded to the largest set.

    A region that is not proposed is a detection only once it is proposed *and* classified: its logit is a soft minimum
    of the two, with a gradient to both.

    - regions: Of each image.
    - columns: The head's columns.
    - logits: `[R,C]` of all regions one after the other.
    - boxes: `[R,C,4]` of these, in the image.
    - scale: Factors `[4]` from the resized image to the image.
    - size: `(H,W)` of the image.
    """
    counts = [len(one.boxes) for one in regions]
    held_back = [
        torch.cat((own[: one.proposed], -torch.logaddexp(-own[one.proposed :], -one.margins[:, None])))
        for own, one in zip(logits.split(counts), regions, strict=True)
    ]
    named, unnamed = columns.split(pad_sequence(held_back, batch_first=True))
    own_boxes, unnamed_boxes = columns.split(pad_sequence(list(boxes.split(counts)), batch_first=True), dim=2)
    proposed = _first([one.proposed for one in regions], max(counts), logits.device)
    return Candidates(
        boxes=own_boxes,
        logits=named,
        valid=_first(counts, max(counts), logits.device),
        anchors=pad_sequence([one.boxes for one in regions], batch_first=True) * scale,
        state=HeadState(size, scale, proposed, unnamed, unnamed_boxes),
    )


def proposed_only(candidates: Candidates, columns: Columns) -> list[tuple[Tensor, Tensor]]:
    """Return boxes `[P,C,4]` and scores `[P,C]` of each image's own proposals, by head column."""
    state = candidates.state
    logits = columns.join(candidates.logits.detach(), state.unnamed_logits.detach())
    boxes = columns.join(candidates.boxes.detach(), state.unnamed_boxes.detach(), dim=2, background=0.0)
    return [(b[own], s[own]) for b, s, own in zip(boxes, logits.sigmoid(), state.proposed, strict=True)]


def _bar(objectness: Tensor, most: int) -> Tensor:
    """Return `[L]`, filled with the objectness that a region of a level of L needs to be among its `most` best."""
    lowest = objectness.topk(most).values[-1] if len(objectness) > most else objectness.new_tensor(-torch.inf)
    return lowest.expand(len(objectness))


def _first(counts: list[int], length: int, device: torch.device) -> Tensor:
    """Return bool `[N,length]`, True for the first `counts[n]` of each row."""
    return torch.arange(length, device=device) < torch.tensor(counts, device=device)[:, None]
