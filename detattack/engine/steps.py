"""Step rules: from the gradient of the cost to the next image. Each is a stateful object with `init` and `step`.

State is kept per image of the original batch, so that `rows` (the images still unsolved) can shrink.
"""

from typing import Protocol

import torch
from torch import Tensor

from detattack.engine.attacks import Attack

TINY = 1e-12
"""Guards the division by a gradient's norm: a zero gradient gives a zero step, never NaN."""


class Step(Protocol):
    """A step rule."""

    def init(self, images: Tensor) -> None:
        """Prepares the state for a batch `[N,3,H,W]`."""

    def step(self, gradient: Tensor, rows: Tensor, size: float) -> Tensor:
        """The change `[n,3,H,W]` to add, from the gradient `[n,3,H,W]` of the images `rows` `[n]`."""


class GradientDescent:
    """Eq. 4: −α·∂Cost/∂x. Without regularization this is FGV (Eq. 8)."""

    def init(self, images: Tensor) -> None:
        """Nothing to remember."""

    def step(self, gradient: Tensor, rows: Tensor, size: float) -> Tensor:
        return -size * gradient


class Normalized(GradientDescent):
    """A step of L2 length α along −∂Cost/∂x, whatever the scale of the loss."""

    def step(self, gradient: Tensor, rows: Tensor, size: float) -> Tensor:
        norm = gradient.flatten(1).norm(dim=1).clamp_min(TINY)
        return -size * gradient / norm.view(-1, 1, 1, 1)


class Sign(GradientDescent):
    """Eq. 7, iterated: −α·sign(∂Cost/∂x)."""

    def step(self, gradient: Tensor, rows: Tensor, size: float) -> Tensor:
        return -size * gradient.sign()


class Adam:
    """Adam (Kingma and Ba, 2015) with β = (0.9, 0.999), per image."""

    betas = (0.9, 0.999)
    epsilon = 1e-8

    def init(self, images: Tensor) -> None:
        self.mean, self.square = torch.zeros_like(images), torch.zeros_like(images)
        self.count = 0

    def step(self, gradient: Tensor, rows: Tensor, size: float) -> Tensor:
        first, second = self.betas
        self.count += 1
        self.mean[rows] = mean = first * self.mean[rows] + (1 - first) * gradient
        self.square[rows] = square = second * self.square[rows] + (1 - second) * gradient.square()
        unbiased = (square / (1 - second**self.count)).sqrt()
        return -size * mean / (1 - first**self.count) / (unbiased + self.epsilon)


STEPS: dict[str, type[Step]] = {
    "gd": GradientDescent,
    "normalized": Normalized,
    "adam": Adam,
    "sign": Sign,
}


def make_step(attack: Attack, images: Tensor) -> Step:
    """The step rule of an attack, ready for a batch `[N,3,H,W]`."""
    step = STEPS[attack.step]()
    step.init(images)
    return step
