"""Step rules: from what an iteration has seen to the next images.

State is kept per image of the original batch, so that `rows` (the images still unsolved) can shrink.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from detattack.engine.attacks import Attack

TINY = 1e-12
"""Guards the division by a norm: a zero gradient gives a zero step, never NaN."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """What one iteration has seen of the n images that go on.

    rows `[n]`: which images of the batch these are. images, originals `[n,3,H,W]`: x(k), before rounding, and
    x(0). gradient `[n,3,H,W]`: of the cost. success bool `[n]`: proposed for x(k). number: k. size: α of this
    iteration.
    """

    rows: Tensor
    images: Tensor
    originals: Tensor
    gradient: Tensor
    success: Tensor
    number: int
    size: float


class Step(Protocol):
    """A step rule, made for one attack on one batch `[N,3,H,W]`."""

    def __init__(self, attack: Attack, images: Tensor) -> None: ...

    def step(self, now: Iterate) -> Tensor:
        """x(k+1) `[n,3,H,W]`, not yet clamped."""


class GradientDescent:
    """Eq. 4: −α·∂Cost/∂x. Without regularization this is FGV (Eq. 8)."""

    def __init__(self, attack: Attack, images: Tensor) -> None:
        """Nothing to remember."""

    def step(self, now: Iterate) -> Tensor:
        return now.images - now.size * now.gradient


class Normalized(GradientDescent):
    """A step of L2 length α along −∂Cost/∂x, whatever the scale of the loss."""

    def step(self, now: Iterate) -> Tensor:
        return now.images - now.size * unit(now.gradient)


class Sign(GradientDescent):
    """Eq. 7, iterated: −α·sign(∂Cost/∂x)."""

    def step(self, now: Iterate) -> Tensor:
        return now.images - now.size * now.gradient.sign()


class Adam:
    """Adam (Kingma and Ba, 2015) with β = (0.9, 0.999), per image."""

    betas = (0.9, 0.999)
    epsilon = 1e-8

    def __init__(self, attack: Attack, images: Tensor) -> None:
        self.mean, self.square = torch.zeros_like(images), torch.zeros_like(images)
        self.count = 0

    def step(self, now: Iterate) -> Tensor:
        first, second = self.betas
        self.count += 1
        self.mean[now.rows] = mean = first * self.mean[now.rows] + (1 - first) * now.gradient
        self.square[now.rows] = square = second * self.square[now.rows] + (1 - second) * now.gradient.square()
        unbiased = (square / (1 - second**self.count)).sqrt()
        return now.images - now.size * mean / (1 - first**self.count) / (unbiased + self.epsilon)


class DDN:
    """Decoupled direction and norm (Rony et al., 2019): a step along the gradient, then a rescaling to a norm that
    shrinks by γ while the goal holds and grows by γ while it does not.

    The step length falls from α to a hundredth of it along half a cosine over the iterates that are judged.
    """

    first_norm = 1.0
    gamma = 0.05
    last_share = 0.01

    def __init__(self, attack: Attack, images: Tensor) -> None:
        self.norm = images.new_full((len(images),), self.first_norm)
        self.largest = torch.maximum(images, 1 - images).flatten(1).norm(dim=1)
        self.iterates = attack.max_iterations + 1

    def step(self, now: Iterate) -> Tensor:
        share = self.last_share + (1 - self.last_share) * (1 + math.cos(math.pi * now.number / self.iterates)) / 2
        moved = now.images - now.originals - share * now.size * unit(now.gradient)
        factor = torch.where(now.success, 1 - self.gamma, 1 + self.gamma)
        norm = torch.minimum(self.norm[now.rows] * factor, self.largest[now.rows])
        self.norm[now.rows] = norm
        return now.originals + norm.view(-1, 1, 1, 1) * unit(moved)


STEPS: dict[str, type[Step]] = {
    "gd": GradientDescent,
    "normalized": Normalized,
    "adam": Adam,
    "sign": Sign,
    "ddn": DDN,
}


def unit(vectors: Tensor) -> Tensor:
    """`[n,3,H,W]` scaled to L2 length 1 each; zero stays zero."""
    return vectors / vectors.flatten(1).norm(dim=1).clamp_min(TINY).view(-1, 1, 1, 1)
