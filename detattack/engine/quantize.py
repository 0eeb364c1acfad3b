"""8-bit images inside the loop: what the model is shown is what a file can hold."""

import torch
from torch import Tensor

SLACK = 1e-3
"""Of a gray level: what floating point may lack of a whole one."""
BISECTIONS = 10
"""Of the scale of a change that is to have some length when rounded."""


def as_file(images: Tensor, levels: int | None) -> Tensor:
    """Images in [0,1] rounded to the nearest of `levels` gray levels a channel; untouched where None."""
    if levels is None:
        return images
    return (images * (levels - 1)).round() / (levels - 1)


def within_radius(images: Tensor, originals: Tensor, radius: float, levels: int | None) -> Tensor:
    """Images clamped to the L∞ distance `radius` from the originals, such that `as_file` keeps them inside it."""
    low, high = originals - radius, originals + radius
    if levels is not None:  # the outermost gray levels inside
        low = (low * (levels - 1) - SLACK).ceil() / (levels - 1)
        high = (high * (levels - 1) + SLACK).floor() / (levels - 1)
    return images.clamp(low, high)


def within_ball(images: Tensor, originals: Tensor, radius: float) -> Tensor:
    """Images drawn back to the L2 distance `radius` from the originals. Rounding may lead out of it again."""
    change = images - originals
    length = change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return originals + change * (radius / length).clamp_max(1)


def rounded_to_length(originals: Tensor, directions: Tensor, radii: Tensor, levels: int | None) -> Tensor:
    """Images of `levels` at the L2 distance `radii` `[n]` from the originals, along unit vectors `directions`.

    Originals `[n,3,H,W]` on the levels. x(0) + t·v is rounded to the nearest level, and t found by bisection such
    that the distance of the rounded and clamped image is the radius, or the next that rounding allows above it.
    Floats where `levels` is None: t is the radius.
    """
    if levels is None:
        return (originals + radii.view(-1, 1, 1, 1) * directions).clamp(0, 1)
    start = (originals * (levels - 1)).round()
    target = radii * (levels - 1)

    def rounded(scale: Tensor) -> Tensor:
        return (start + scale.view(-1, 1, 1, 1) * directions).round().clamp(0, levels - 1)

    low, high = torch.zeros_like(target), 2 * target + 0.6 / directions.flatten(1).abs().amax(1).clamp_min(SLACK**4)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = (rounded(middle) - start).flatten(1).norm(dim=1) <= target
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return rounded(high) / (levels - 1)
