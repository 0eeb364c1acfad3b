"""Images as a file holds them, for models whose official inference resizes 8-bit images outside of the graph."""

from collections.abc import Callable

import torch
from torch import Tensor


def as_pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """`[N,3,H,W]` in [0,1] as uint8, and of which images `[N]` that says it all: each value is one of 256 levels."""
    levels = images.detach() * 255
    pixels = levels.round()
    return pixels.to(torch.uint8), ((levels - pixels).abs() < 1e-3).flatten(1).all(1)


def resized_as_files(images: Tensor, smooth: Tensor, official: Callable[[Tensor], Tensor]) -> Tensor:
    """What a model sees of `images`: with the values of its official resize, and the gradient of a smooth one.

    smooth: the same as tensor operations; it differs from `official(pixels)` by the rounding to 8 bits on the way.
    An image that no 8-bit file holds is what `smooth` makes of it, whatever the others of the batch are.
    """
    pixels, of_file = as_pixels(images)
    if not bool(of_file.any()):
        return smooth
    exact = smooth + (official(pixels).to(smooth) - smooth).detach()
    return torch.where(of_file.view(-1, 1, 1, 1), exact, smooth)
