"""8-bit images inside the loop: the model is shown what a file can hold."""

import torch
from torch import Tensor

from detattack.engine.presets import Attack

SLACK = 1e-3
"""Tolerance of floating-point error, in gray levels."""
BISECTIONS = 10
"""How many bisections find the scale of a change that has a given L2 after rounding."""


def as_file(images: Tensor, levels: int | None) -> Tensor:
    """Round images in [0,1] to the nearest of `levels` gray levels per channel; None: return them unchanged."""
    if levels is None:
        return images
    return (images * (levels - 1)).round_().div_(levels - 1)


def within_radius(images: Tensor, originals: Tensor, radius: float, levels: int | None) -> Tensor:
    """Clamp images to the L∞ distance `radius` from the originals, such that `as_file` keeps them within it."""
    low, high = originals - radius, originals + radius
    if levels is not None:  # the outermost gray levels inside
        low.mul_(levels - 1).sub_(SLACK).ceil_().div_(levels - 1)
        high.mul_(levels - 1).add_(SLACK).floor_().div_(levels - 1)
    return images.clamp(low, high)


def as_seen(attack: Attack, images: Tensor, originals: Tensor) -> Tensor:
    """Return what the model is shown of images `[n,3,H,W]`: what a file can hold, within the radius.

    Where all of an L2 radius is spent on 8-bit images, plain rounding would leave nothing of a small change: of all
    roundings of x(0) + t·(x − x(0)), t > 0, the farthest inside the ball is shown. An image on the gray levels and
    inside, such as the worst within a smaller budget, is shown as it is.
    """
    if attack.radius is None or attack.norm == "linf" or attack.stop != "worst" or attack.levels is None:
        return as_file(images, attack.levels)
    change, radius = images - originals, l2_radius(attack, images)
    length = change.flatten(1).norm(dim=1)
    directions = change / length.clamp_min(1e-12).view(-1, 1, 1, 1)
    filling = rounded_to_l2(originals, directions, radius, attack.levels, at_most=True)
    held = (as_file(images, attack.levels) == images).flatten(1).all(1) & (length <= radius)
    return torch.where(held.view(-1, 1, 1, 1), images, filling)


def l2_radius(attack: Attack, images: Tensor) -> Tensor:
    """Return the radius of an attack as an L2 norm in [0,1] units, `[n]`, for images `[n,3,H,W]`."""
    values = images[0].numel() if attack.norm == "rms" else 1
    return images.new_full((len(images),), (attack.radius or 0.0) * values**0.5)


def within_ball(images: Tensor, originals: Tensor, radius: Tensor) -> Tensor:
    """Project images onto the L2 balls of `radius` `[n]` around the originals. Rounding may leave them again."""
    change = images - originals
    length = change.flatten(1).norm(dim=1).clamp_min(1e-12)
    return originals + change * (radius / length).clamp_max(1).view(-1, 1, 1, 1)


def rounded_to_l2(
    originals: Tensor, directions: Tensor, target_l2: Tensor, levels: int | None, at_most: bool = False
) -> Tensor:
    """Return images on the gray levels at a given L2 distance from the originals, along given directions.

    - originals: `[n,3,H,W]`, on the levels
    - directions: v, `[n,3,H,W]`, unit vectors
    - target_l2: `[n]`
    - levels: number of gray levels; None: floats, without rounding
    - at_most: whether the L2 must not exceed the target

    x(0) + t·v is rounded to the nearest level, where t is found by bisection such that the L2 of the rounded and
    clamped change is the target, or the next larger one that rounding allows, or the next smaller one (`at_most`).
    """
    if levels is None:
        return (originals + target_l2.view(-1, 1, 1, 1) * directions).clamp(0, 1)
    top = levels - 1
    start = (originals * top).round_()
    sizes, room, target = directions.abs(), torch.where(directions < 0, start, top - start), target_l2 * top
    change = torch.empty_like(sizes)

    def length(scale: Tensor) -> Tensor:
        """Round the change at a scale `[n]`, and return its L2 `[n]`."""
        torch.mul(sizes, scale.view(-1, 1, 1, 1), out=change)
        torch.minimum(change.round_(), room, out=change)
        return change.flatten(1).norm(dim=1)

    low, high = torch.zeros_like(target), 2 * target + 0.6 / sizes.flatten(1).amax(1).clamp_min(SLACK**4)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = length(middle) <= target
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    length(low if at_most else high)
    return start.add_(change.copysign_(directions)).div_(top)
