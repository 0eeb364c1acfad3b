"""Test pictures: rendered scenes and colored noise, square and not, of sizes that 32 does not divide."""

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.detectors.parts.random_weights import noise

SIZES = ((213, 317), (256, 256), (320, 180))
"""Height and width of the pictures."""


def check_pictures(count: int, device: torch.device) -> list[Tensor]:
    """Return `count` pictures `[1,3,H,W]` with 8-bit values: alternately a crop of a rendered scene and noise."""
    return [_picture(number).to(device) for number in range(count)]


def between_levels(image: Tensor) -> Tensor:
    """Return the image with values that no 8-bit file holds: an adapter may resize those in another way."""
    return image * 0.99 + 0.3 / 255


def smooth_picture(device: torch.device) -> Tensor:
    """Return a picture `[1,3,192,192]` so smooth that it looks the same at any size."""
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return (F.interpolate(coarse, (192, 192), mode="bicubic").clamp(0, 1) * 255).round().to(device) / 255


def _picture(number: int) -> Tensor:
    from detattack.datasets.scenes import render, scene_seed

    height, width = SIZES[number % len(SIZES)]
    if number % 2 == 0:
        pixels = torch.from_numpy(render(scene_seed(0, number + 1)).image).permute(2, 0, 1)[None]
        y, x = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
        return pixels[..., y : y + height, x : x + width].float() / 255
    return (F.interpolate(noise(1, 64, number), (height, width), mode="bilinear") * 255).round() / 255
