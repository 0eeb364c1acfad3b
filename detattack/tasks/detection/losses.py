"""Losses: from the candidates of one image to a scalar that is minimized, without any knowledge of one detector.

A candidate a counts as long as it could become the detection in question, not only where it is the top one: pressing
the top one down exposes its neighbors. Losses are in logits relative to the threshold τ, z = logit − logit(τ), so they
say how far from the decision a candidate is; h is the smooth hinge and m the `MARGIN`.

An own loss is a function of `(ImageCandidates, Target)`, registered by `register_loss`; a goal names its losses.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.core.boxes import Box, giou, iou
from detattack.core.registry import Registry
from detattack.tasks.detection.candidates import NEIGHBORHOOD, ImageCandidates, best_at, box_like, targeted_logits
from detattack.tasks.detection.matching import MATCH_IOU

if TYPE_CHECKING:
    from detattack.tasks.detection.goals import Target

SHARPNESS = 10.0
"""Of the smooth hinge: candidates this side of ±1/SHARPNESS logits around τ share the gradient."""
MARGIN = 0.05
"""Logits by which a candidate should pass τ, so that rounding and NMS do not undo it."""
PULLED = 20
"""How many candidates are pulled onto an asked box; the best of them leads."""


Loss = Callable[[ImageCandidates, "Target"], Tensor]


@dataclass(frozen=True)
class RegisteredLoss:
    """A loss by its name. help: what it does, in a few words."""

    name: str
    function: Loss
    help: str


LOSSES: Registry[RegisteredLoss] = Registry("loss")
"""Every loss by its name."""


def register_loss(name: str, *, help: str) -> Callable[[Loss], Loss]:
    """Make a decorator that makes a function `(ImageCandidates, Target) -> scalar Tensor` known by a name.

    Raises `InputError` where the name is taken.
    """

    def registered(function: Loss) -> Loss:
        LOSSES.register(name, RegisteredLoss(name, function, help))
        return function

    return registered


@register_loss("vanish", help="all scores of the class down, at the box if there is one")
def vanish(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_a Σ_k h(z_ak + m), over every candidate and every targeted class, near the box if there is one."""
    return smooth_hinge(targeted_logits(seen, target.label, target.box) + MARGIN).sum()


@register_loss("inject", help="the class up and its boxes onto the asked one")
def inject(seen: ImageCandidates, target: "Target") -> Tensor:
    """`appear` of the target's class at its box."""
    assert target.box is not None
    return appear(seen, target.labels[0], target.box)


@register_loss("mislabel", help="the old class down and the new one up, at the same objects")
def mislabel(seen: ImageCandidates, target: "Target") -> Tensor:
    """Σ_o ( Σ_{a at o} h(z_a,old + m) + appear(new, o) ), over the objects o."""
    old, new = target.labels
    own, loss = seen.boxes_of(old), seen.logits.new_zeros(())
    for box in target.objects:
        there = iou(own, box_like(box, own)) >= MATCH_IOU - NEIGHBORHOOD
        leaving = smooth_hinge(seen.relative[:, old] + MARGIN).masked_fill(~there, 0.0).sum()
        loss = loss + leaving + appear(seen, new, box)
    return loss


def appear(seen: ImageCandidates, label: int, box: Box) -> Tensor:
    """softmin_a ( h(m − z_a) + w·[s − GIoU(b_a, b)]₊ ) + crowding, over the candidates a that best cover the box b.

    Pulls scores up and boxes onto the asked one. The one nearest to the goal leads (a soft minimum over the pulled),
    since one detection is all it takes.
    """
    own = seen.boxes_of(label)
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


def keep(seen: ImageCandidates, label: int, box: Box) -> Tensor:
    """h(m − max_{a at b} z_a): a hinge on the best candidate of a detection that is to stay (`keep_others`)."""
    best = best_at(seen, label, box)
    return torch.where(best.isfinite(), smooth_hinge(MARGIN - best), 0.0)


def smooth_hinge(relative: Tensor) -> Tensor:
    """h: softplus with `SHARPNESS`; about max(0, relative), with a gradient on both sides of 0."""
    return F.softplus(relative, beta=SHARPNESS)


def soft_minimum(values: Tensor, sharpness: float) -> Tensor:
    """−log mean exp(−s·v) / s: between the minimum and the mean; its gradient goes mostly to the smallest."""
    return (math.log(len(values)) - torch.logsumexp(-sharpness * values, 0)) / sharpness
