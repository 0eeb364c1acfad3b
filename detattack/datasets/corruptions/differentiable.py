"""Corruptions inside an attack: the values of the real one, and a gradient through it.

The gradient of a linear map and of a curve of gray levels is exact but for rounding. Through WebP, noise and bit depth
it passes unchanged (straight through): the derivative of rounding is 0 almost everywhere and leads nowhere. Through
JPEG it is that of what is about to round to something else (`cosine`).
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detattack.datasets.corruptions.chain import Corruption, Step
from detattack.datasets.corruptions.registry import CORRUPTIONS
from detattack.datasets.image_io import to_pixels, to_tensor


def corrupted(images: Tensor, corruption: Corruption) -> Tensor:
    """Corrupt images `[n,3,H,W]` in [0,1], rounded to 8 bits; differentiable.

    Raises `InputError` as a corruption does.
    """
    for step in corruption.steps:
        images = _Corrupt.apply(images, step)
    return images


class _Corrupt(torch.autograd.Function):
    """One step, with a derivative that it may not have itself."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, step: Step) -> Tensor:
        """Corrupt each image as 8-bit pixels."""
        ctx.step = step
        if step.kind.slope is not None or step.kind.pull is not None:
            ctx.save_for_backward(images)
        return torch.stack([to_tensor(step(to_pixels(image.detach().cpu()))) for image in images]).to(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Pull a gradient `[n,3,H,W]` back through the step."""
        kind, strength = ctx.step.kind, ctx.step.low
        if kind.matrix is not None:
            rows, columns = (_matrix(ctx.step.name, side, strength).to(gradient) for side in gradient.shape[-2:])
            return rows.T @ gradient @ columns, None
        if kind.slope is not None:
            (images,) = ctx.saved_tensors
            slope = torch.from_numpy(kind.slope(strength)).to(gradient)
            return gradient * slope[(images * 255).round().long()], None
        if kind.pull is not None:
            (images,) = ctx.saved_tensors
            pairs = zip(images, gradient, strict=True)
            return torch.stack([_pulled(ctx.step, *pair) for pair in pairs]).to(gradient), None
        return gradient, None


def _pulled(step: Step, image: Tensor, gradient: Tensor) -> Tensor:
    assert step.kind.pull is not None
    pulled = step.kind.pull(to_pixels(image.cpu()), step.low, gradient.permute(1, 2, 0).float().cpu().numpy())
    return torch.from_numpy(np.ascontiguousarray(pulled)).permute(2, 0, 1)


@lru_cache(maxsize=64)
def _matrix(name: str, side: int, strength: float) -> Tensor:
    """Return the matrix of a step along an axis, `[side,side]`."""
    matrix = CORRUPTIONS[name].matrix
    assert matrix is not None
    return torch.from_numpy(matrix(side, strength))
