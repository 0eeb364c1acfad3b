"""Losses: from the candidates of one image to a scalar that is minimized, without any knowledge of one detector.

A candidate a counts as long as it could become the detection in question, not only where it is the top one: pressing
the top one down exposes its neighbors. Losses are in logits relative to the threshold τ, z = logit − logit(τ), so they
say how far from the decision a candidate is; h is the smooth hinge and m the `MARGIN`.

The four ways of being wrong about known objects are `miss` (or `vanish`, of everything), `mislabel`, `mislocate` and
`fabricate`. They drive scores just past τ where the nearest image is looked for, and far past it where a budget is
spent on average precision: `ImageCandidates.reach`. `outrank` weighs all of them as average precision does.

An own loss is a function of `(ImageCandidates, Target)`, registered by `register_loss`; a goal names its losses.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.core.boxes import Box, giou, iou
from detattack.core.registry import Registry
from detattack.tasks.detection.candidates import (
    JUST_PAST,
    MARGIN,
    NEIGHBORHOOD,
    ImageCandidates,
    at_objects,
    best_at,
    box_like,
    columns,
    targeted_logits,
)
from detattack.tasks.detection.harm import THRESHOLDS
from detattack.tasks.detection.matching import MATCH_IOU

if TYPE_CHECKING:
    from detattack.tasks.detection.goals import Target

SHARPNESS = 10.0
"""Of the smooth hinge: candidates this side of ±1/SHARPNESS logits around τ share the gradient."""
FALSE = 0.1
"""What a false candidate counts beside a right one in `outrank`: there are many more of them."""
FABRICATED = 200
"""How many candidates are pulled up at least, where false detections are to pass τ."""
STILL_SHORT = 100
"""How many of those are short of τ at least: NMS leaves few of the others, and they rest."""
PULLED = 20
"""How many candidates are pulled onto an asked box; the best of them leads."""


Loss = Callable[[ImageCandidates, "Target"], Tensor]


@dataclass(frozen=True)
class RegisteredLoss:
    """A loss by its name.

    - help: what it does, in a few words
    - of_objects: whether it is about reference objects, which only some goals have
    """

    name: str
    function: Loss
    help: str
    of_objects: bool = False


LOSSES: Registry[RegisteredLoss] = Registry("loss")
"""Every loss by its name."""


def register_loss(name: str, *, help: str, of_objects: bool = False) -> Callable[[Loss], Loss]:
    """Make a decorator that makes a function `(ImageCandidates, Target) -> scalar Tensor` known by a name.

    of_objects: see `RegisteredLoss`. Raises `InputError` where the name is taken.
    """

    def registered(function: Loss) -> Loss:
        LOSSES.register(name, RegisteredLoss(name, function, help, of_objects))
        return function

    return registered


@register_loss("vanish", help="all scores of the class down, at the box if there is one")
def vanish(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_a Σ_k h(z_ak + m), over every candidate and every targeted class, near the box if there is one."""
    return smooth_hinge(targeted_logits(seen, target.first_class, target.box) + seen.reach.down).sum()


@register_loss("inject", help="the class up and its boxes onto the asked one")
def inject(seen: ImageCandidates, target: "Target") -> Tensor:
    """`appear` of the target's class at its box."""
    assert target.box is not None
    return appear(seen, target.classes[0], target.box)


@register_loss("miss", help="each object's own score down, at the object", of_objects=True)
def miss(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_o Σ_{a near o} h(z_a,c(o) + m), where c(o) is the class of the object o."""
    own, overlap = at_objects(seen, *target.places)
    there = overlap.detach() >= MATCH_IOU - NEIGHBORHOOD
    return smooth_hinge(own + seen.reach.down).masked_fill(~there, 0.0).sum()


@register_loss("unmatch", help="each object's own score down or its box off, whichever is nearer", of_objects=True)
def unmatch(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_o Σ_a h(z_a,c(o) + m) · [IoU(b_a, o) − overlap]₊: 0 where the score is low or the box is off."""
    own, overlap = at_objects(seen, *target.places)
    return (smooth_hinge(own + seen.reach.down) * (overlap - seen.reach.overlap).clamp_min(0)).sum()


@register_loss("mislabel", help="each object's best other class ahead of its own", of_objects=True)
def mislabel(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_o Σ_{a near o} ( [z_a,c(o) − max_{k≠c(o)} z_ak]_{≥ −lead} + h(z_a,c(o) + m) ).

    Of the objects that a candidate is near, the one it covers best counts.
    """
    own, overlap = at_objects(seen, *target.places)
    if not target.objects:
        return own.sum()
    best, which = overlap.detach().max(1)
    there = (best >= MATCH_IOU - NEIGHBORHOOD).nonzero()[:, 0]
    z = seen.relative[there]
    labels = torch.tensor(target.places[1], device=own.device)[which[there]]
    own_class = target.firsts(labels)[:, None] == target.firsts(torch.arange(z.shape[1], device=own.device))
    own = z.masked_fill(~own_class, -torch.inf).amax(1)
    other = z.masked_fill(own_class, -torch.inf).amax(1)
    other = other.masked_fill(other == -torch.inf, -seen.reach.down)  # where there is no other class
    return ((own - other).clamp_min(-seen.reach.lead) + smooth_hinge(own + MARGIN)).sum()


@register_loss("mislocate", help="boxes off their objects", of_objects=True)
def mislocate(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_o Σ_a p_a,c(o) · [IoU(b_a, o) − overlap]₊, the scores p being weights without a gradient."""
    own, overlap = at_objects(seen, *target.places)
    scores = (own.detach() + seen.tau).sigmoid()
    still = seen.logits[:0].sum()  # 0: of a detector whose boxes never move the gradient is 0, and no error
    return (scores * (overlap - seen.reach.overlap).clamp_min(0)).sum() + still


@register_loss("fabricate", help="detections where there is no object", of_objects=True)
def fabricate(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_a −min(max_k z_ak, up), over classes of which no object is at the candidate.

    For τ over the best candidates alone, `FABRICATED` at least, of which `STILL_SHORT` are short of `up`.
    """
    z = seen.relative
    if target.objects:
        z = z.masked_fill(_at_own_object(seen, target), -torch.inf)
    best = z.amax(1)
    best = best[best.isfinite()]
    if seen.reach is JUST_PAST:
        passed = int((best >= seen.reach.up).sum())
        best = best.topk(min(max(FABRICATED, passed + STILL_SHORT), len(best))).values
    return -best.clamp_max(seen.reach.up).sum()


@register_loss("outrank", help="right detections down or off, false ones above them", of_objects=True)
def outrank(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_o Σ_a p_a,c(o)·q_ao − w·Σ_a Σ_k softplus(z_ak)·(1 − max_{o: c(o)=k} q_ao): what is right less what is false.

    p are the scores, z their logits up to `reach.up`, w is `FALSE`, k the classes that count, and q = [(IoU(b_a, o) −
    .5) / .45]₀¹ is the share of COCO's IoU thresholds at which the box is right. Moving a sure box off takes a smaller
    change than lowering its score, and leaves it above the right ones: what counts where a budget is too small to lower
    scores far.
    """
    own, overlap = at_objects(seen, *target.places)
    share = ((overlap - THRESHOLDS[0]) / (THRESHOLDS[-1] - THRESHOLDS[0])).clamp(0, 1)
    right = ((own + seen.tau).sigmoid() * share).sum()
    up = F.softplus(seen.relative.clamp_max(seen.reach.up) + seen.tau)
    false = (torch.stack([up[:, label] for label in target.counting], 1) if target.counting else up).sum()
    for label in dict.fromkeys(target.places[1]):
        of_class = [share[:, o] for o, one in enumerate(target.places[1]) if one == label]
        false = false - (up[:, label] * torch.stack(of_class).amax(0)).sum()
    return right - FALSE * false


def _at_own_object(seen: ImageCandidates, target: "Target") -> Tensor:
    """Whether an object of the class is at a candidate, bool `[A,K]`."""
    _, overlap = at_objects(seen, *target.places)
    labels = torch.tensor(target.places[1], device=overlap.device)
    near = (overlap.detach() >= MATCH_IOU - NEIGHBORHOOD).to(seen.logits.dtype)
    return torch.zeros_like(seen.relative.detach()).index_add_(1, labels, near) > 0


@register_loss("relabel", help="the old class down and the new one up, at the same objects")
def relabel(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_o ( Σ_{a at o} h(z_a,old + m) + appear(new, o) ), over the objects o."""
    old, new = target.classes
    own, loss = seen.boxes_of(old), seen.logits.new_zeros(())
    for box in target.objects:
        there = iou(own, box_like(box, own)) >= MATCH_IOU - NEIGHBORHOOD
        leaving = smooth_hinge(seen.relative[:, columns(old)] + MARGIN).masked_fill(~there, 0.0).sum()
        loss = loss + leaving + appear(seen, new, box)
    return loss


def appear(seen: ImageCandidates, labels: Sequence[int], box: Box) -> Tensor:
    """Return the least loss of `_appear` over the labels of one name: one of them is to be seen."""
    return functools.reduce(torch.minimum, (_appear(seen, label, box) for label in labels))


def _appear(seen: ImageCandidates, label: int, box: Box) -> Tensor:
    """softmin_a ( h(m − z_a) + w·[s − GIoU(b_a, b)]₊ ) + crowding, over the candidates a that best cover the box b.

    Pulls scores up and boxes onto the asked one. The one nearest to the goal leads (a soft minimum over the pulled),
    since one detection is all it takes.
    """
    own = seen.boxes_of((label,))[:, 0]
    wanted = box_like(box, own)
    cover = iou(own, wanted).detach()
    start = cover if seen.anchors is None else iou(seen.anchors, wanted).detach()
    nearest = (cover + start).topk(min(PULLED, len(cover))).indices
    overlap = iou(own[nearest], wanted)
    box_term = (seen.pull.slack - giou(own[nearest], wanted)).clamp_min(0)
    scores = seen.relative[nearest, label]
    pulled = soft_minimum(smooth_hinge(MARGIN - scores) + seen.pull.box_weight * box_term, seen.pull.sharpness)
    return pulled + _crowding(own, seen.relative[:, label], overlap, nearest, wanted)


def _crowding(own: Tensor, scores: Tensor, overlap: Tensor, nearest: Tensor, wanted: Tensor) -> Tensor:
    """Σ_a h(z_a + m) over same-class candidates that would swallow the injected box in NMS without being at the place.

    Those that are pulled onto the place themselves are left alone.
    """
    lead = own.detach().index_select(0, nearest.index_select(0, overlap.argmax().view(1)))[0]  # the host waits for none
    swallows = (iou(own, lead) >= MATCH_IOU - NEIGHBORHOOD) & (iou(own, wanted) < MATCH_IOU)
    swallows = swallows.index_fill(0, nearest, False)
    return smooth_hinge(scores + MARGIN).masked_fill(~swallows, 0.0).sum()


def keep(seen: ImageCandidates, labels: Sequence[int], box: Box) -> Tensor:
    """h(m − max_{a at b} z_a): a hinge on the best candidate of a detection that is to stay (`keep_others`)."""
    best = best_at(seen, labels, box)
    return torch.where(best.isfinite(), smooth_hinge(MARGIN - best), 0.0)


def smooth_hinge(relative: Tensor) -> Tensor:
    """h: softplus with `SHARPNESS`; about max(0, relative), with a gradient on both sides of 0."""
    return F.softplus(relative, beta=SHARPNESS)


def soft_minimum(values: Tensor, sharpness: float) -> Tensor:
    """−log mean exp(−s·v) / s: between the minimum and the mean; its gradient goes mostly to the smallest."""
    return (math.log(len(values)) - torch.logsumexp(-sharpness * values, 0)) / sharpness
