"""Images as a file holds them, for models whose official inference resizes 8-bit images outside of the graph."""

from collections.abc import Callable

import torch
from torch import Tensor


def as_pixels(images: Tensor) -> Tensor | None:
    """`[N,3,H,W]` in [0,1] as uint8, where every value is one of 256 gray levels; else None."""
    levels = images.detach() * 255
    pixels = levels.round()
    return pixels.to(torch.uint8) if bool(((levels - pixels).abs() < 1e-3).all()) else None


def resized_as_files(images: Tensor, smooth: Tensor, official: Callable[[Tensor], Tensor]) -> Tensor:
    """What a model sees of `images`: with the values of its official resize, and the gradient of a smooth one.

    smooth: the same as tensor operations; it differs from `official(pixels)` by the rounding to 8 bits on the way.
    An image that no 8-bit file holds is what `smooth` makes of it.
    """
    pixels = as_pixels(images)
    return smooth if pixels is None else smooth + (official(pixels).to(smooth) - smooth).detach()
