"""Two-stage detectors: a network that proposes regions, and a head that names them.

The candidates are what the head says of every region that the model itself would look at in this very image: all
its proposals, each with all classes, nothing thresholded or suppressed. A detection comes from one of them or not
at all, so suppression cannot leave a hidden one: what comes up as others go down is among the candidates of the
next iteration, and `select` accepts nothing while one of them is above the threshold.
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
    """What `select` needs: the image's size `(H,W)`, the factors `[4]` from the resized image to it, which
    candidates are the model's own proposals `[N,A]`, and logits and boxes of the head's unnamed columns."""

    image_size: tuple[int, int]
    scale: Tensor
    proposed: Tensor
    unnamed_logits: Tensor
    unnamed_boxes: Tensor


@dataclass(frozen=True, eq=False)
class Regions:
    """Of one image: boxes `[A,4]` in the resized image, the first `proposed` of which are the model's own; of the
    others, by how much `[A − proposed]` they pass what they would have to in order to be proposed."""

    boxes: Tensor
    proposed: int
    margins: Tensor


@dataclass(frozen=True)
class ProposalRule:
    """What a region must be in order to be proposed: among the `per_level` best of its level and the `in_all` best
    of all, of an objectness (logit) of at least `lowest`, and not overlapped by more than `nms` by a better one."""

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
    """The proposals `kept` `[P,4]`, and the regions of `boxes` `[T,4]` that best cover the asked boxes `[E,4]`, with
    the objectness that each lacks to be proposed. All in the resized image; objectness in logits, with a gradient."""
    near = iou_matrix(boxes, asked).topk(min(NEAREST, len(boxes)), dim=0).indices.flatten().unique()
    floor = kept_objectness.min() if len(kept) >= rule.in_all else objectness.new_tensor(rule.lowest)
    of_level = torch.cat([_bar(one, rule.per_level) for one in objectness.detach().split(level_sizes)])
    rivals = torch.where(iou_matrix(boxes[near], kept) > rule.nms, kept_objectness, floor)
    bar = torch.maximum(rivals.amax(1) if len(kept) else floor, of_level[near])
    return Regions(torch.cat((kept, boxes[near])), len(kept), objectness[near] - bar)


def candidates_of(
    regions: Sequence[Regions], columns: Columns, logits: Tensor, boxes: Tensor, scale: Tensor, size: tuple[int, int]
) -> Candidates:
    """Candidates of a batch, padded to the largest set.

    logits `[R,C]` and boxes `[R,C,4]` (in the image) of all regions one after the other, for each column of the head.
    A region that is not proposed is a detection only once it is proposed *and* named: its logit is a soft minimum of
    the two, and has a gradient to both.
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
    """For each image the boxes `[P,C,4]` and scores `[P,C]` of the model's own proposals, by head column."""
    state = candidates.state
    logits = columns.join(candidates.logits.detach(), state.unnamed_logits.detach())
    boxes = columns.join(candidates.boxes.detach(), state.unnamed_boxes.detach(), dim=2, background=0.0)
    return [(b[own], s[own]) for b, s, own in zip(boxes, logits.sigmoid(), state.proposed, strict=True)]


def _bar(objectness: Tensor, most: int) -> Tensor:
    """`[L]` filled with the objectness that a region of a level of L needs to be among its `most` best."""
    lowest = objectness.topk(most).values[-1] if len(objectness) > most else objectness.new_tensor(-torch.inf)
    return lowest.expand(len(objectness))


def _first(counts: list[int], length: int, device: torch.device) -> Tensor:
    """Bool `[N,length]`, in each row the first `counts[n]` True."""
    return torch.arange(length, device=device) < torch.tensor(counts, device=device)[:, None]
