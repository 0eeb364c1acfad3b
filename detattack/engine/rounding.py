"""8-bit images inside the loop: what the model is shown is what a file can hold."""

from torch import Tensor

SLACK = 1e-3
"""Of a gray level: what floating point may lack of a whole one."""


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
