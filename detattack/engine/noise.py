"""The control: random noise with no idea of the model."""

import torch
from torch import Tensor

from detattack.engine.rounding import as_file

TRIALS = 40


def noise_of_length(original: Tensor, length: float, seed: int, levels: int | None) -> Tensor:
    """`original` `[3,H,W]` plus Gaussian noise whose L2, clamped and rounded to `levels`, is about `length`.

    Rounding swallows faint noise, so the scale is found by bisection on the rounded image; the result is the
    image whose distance comes nearest from above, hence never an easier control than asked.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(original.shape, generator=generator).to(original)
    direction = direction / direction.norm()

    def noisy(scale: float) -> Tensor:
        return as_file((original + scale * direction).clamp(0, 1), levels)

    low, high = 0.0, max(length, 1e-6)
    limit = 2 * float(original.numel()) ** 0.5
    while (noisy(high) - original).norm() < length and high < limit:
        low, high = high, 2 * high
    for _ in range(TRIALS):
        middle = (low + high) / 2
        if (noisy(middle) - original).norm() < length:
            low = middle
        else:
            high = middle
    return noisy(high)
