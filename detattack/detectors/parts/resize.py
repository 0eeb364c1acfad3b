"""8-bit resizing for models whose official inference resizes images outside of the graph."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def as_pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return images `[N,3,H,W]` in [0,1] as uint8, and bool `[N]`: whether all values of an image are 8-bit levels."""
    levels = images.detach() * 255
    pixels = levels.round()
    return pixels.to(torch.uint8), ((levels - pixels).abs() < 1e-3).flatten(1).all(1)


def resized_as_files(images: Tensor, smooth: Tensor, official: Callable[[Tensor], Tensor]) -> Tensor:
    """Return resized images with the values of the official resize and the gradient of a smooth one.

    An image that no 8-bit file holds gets the values of `smooth`, whatever the others of the batch are.

    - images: `[N,3,H,W]` in [0,1].
    - smooth: `images`, resized by tensor operations; differs from `official` by its rounding to 8 bits.
    - official: The official resize of uint8 `[N,3,H,W]`.
    """
    pixels, of_file = as_pixels(images)
    if not bool(of_file.any()):
        return smooth
    exact = official(pixels).to(smooth) + (smooth - smooth.detach())  # plus 0: the official values to the bit
    return torch.where(of_file.view(-1, 1, 1, 1), exact, smooth)


def placed(images: Tensor, size: tuple[int, int], color: Sequence[float]) -> Tensor:
    """Return images in the upper left corner of larger ones of one color.

    - images: `[N,3,H,W]`.
    - size: Of the larger ones, `(H,W)`.
    - color: Three values.
    """
    canvas = images.new_tensor(color).view(1, 3, 1, 1).repeat(len(images), 1, *size)
    canvas[..., : images.shape[-2], : images.shape[-1]] = images
    return canvas
