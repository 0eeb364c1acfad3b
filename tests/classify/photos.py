"""Real images that are always there: cuttings of the photos that scikit-image installs with itself."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from classify.datasets import photos
from detattack.datasets.image_io import to_tensor


@cache
def cuttings(count: int = 50, side: int = 32) -> Tensor:
    """`[count,3,side,side]` in [0,1] on the 8-bit grid, each another part of a photo."""
    whole = torch.stack([to_tensor(sample.load().pixels) for sample in photos(4 * side).samples])
    generator = torch.Generator().manual_seed(0)
    found = []
    for i in range(count):
        size = int(torch.randint(side, 4 * side + 1, (), generator=generator))
        top, left = (int(torch.randint(0, 4 * side - size + 1, (), generator=generator)) for _ in range(2))
        part = whole[i % len(whole), :, top : top + size, left : left + size][None]
        found.append(F.interpolate(part, (side, side), mode="bilinear", antialias=True)[0])
    return (torch.stack(found) * 255).round() / 255
