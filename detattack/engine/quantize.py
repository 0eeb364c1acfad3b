"""8-bit images inside the loop: the model is shown what a file can hold."""

import torch
from torch import Tensor

SLACK = 1e-3
"""Tolerance of floating-point error, in gray levels."""
BISECTIONS = 10
"""How many bisections find the scale of a change that has a given L2 after rounding."""


def as_file(images: Tensor, levels: int | None) -> Tensor:
    """Round images in [0,1] to the nearest of `levels` gray levels per channel; None: return them unchanged."""
    if levels is None:
        return images
    return (images * (levels - 1)).round().div(levels - 1)


def within_radius(images: Tensor, originals: Tensor, radius: float, levels: int | None) -> Tensor:
    """Clamp images to the L∞ distance `radius` from the originals, such that `as_file` keeps them within it."""
    low, high = originals - radius, originals + radius
    if levels is not None:  # the outermost gray levels inside
        low = (low * (levels - 1) - SLACK).ceil() / (levels - 1)
        high = (high * (levels - 1) + SLACK).floor() / (levels - 1)
    return images.clamp(low, high)


def within_ball(images: Tensor, originals: Tensor, radius: float) -> Tensor:
    """Project images onto the L2 ball of `radius` around the originals. Rounding may leave it again."""
    change = images - originals
    length = change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return originals + change * (radius / length).clamp_max(1)


def rounded_to_l2(originals: Tensor, directions: Tensor, target_l2: Tensor, levels: int | None) -> Tensor:
    """Return images on the gray levels at a given L2 distance from the originals, along given directions.

    - originals: `[n,3,H,W]`, on the levels
    - directions: v, `[n,3,H,W]`, unit vectors
    - target_l2: `[n]`
    - levels: number of gray levels; None: floats, without rounding

    x(0) + t·v is rounded to the nearest level, where t is found by bisection such that the L2 of the rounded and
    clamped change is the target, or the next larger one that rounding allows.
    """
    if levels is None:
        return (originals + target_l2.view(-1, 1, 1, 1) * directions).clamp(0, 1)
    start = (originals * (levels - 1)).round()
    target = target_l2 * (levels - 1)

    def rounded(scale: Tensor) -> Tensor:
        return (start + scale.view(-1, 1, 1, 1) * directions).round().clamp(0, levels - 1)

    low, high = torch.zeros_like(target), 2 * target + 0.6 / directions.flatten(1).abs().amax(1).clamp_min(SLACK**4)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = (rounded(middle) - start).flatten(1).norm(dim=1) <= target
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return rounded(high) / (levels - 1)
