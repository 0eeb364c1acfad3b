"""Adam (Kingma and Ba, 2015): along the running mean of the gradients, over the root of that of their squares."""

import torch
from torch import Tensor, zeros_like

from detattack.engine.presets import Attack
from detattack.engine.state import at, placed
from detattack.engine.steps.base import Iterate, Range, register_step

BETAS = 0.9, 0.999
EPSILON = 1e-8


def adam(
    mean: Tensor,
    square: Tensor,
    gradient: Tensor,
    number: Tensor | int,
    betas: tuple[float, float] = BETAS,
    epsilon: float = EPSILON,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return m and v, brought up to date by a gradient g, and the direction m̂ / (√v̂ + ε).

    - mean, square: m and v, shaped like g, 0 at first
    - number: k, how many gradients there have been, this one included; float64 on the host where it is a tensor

    m = β₁·m + (1 − β₁)·g and v = β₂·v + (1 − β₂)·g²; m̂ = m / (1 − β₁ᵏ) and v̂ = v / (1 − β₂ᵏ) correct the bias of
    their start at 0.
    """
    first, second = betas
    mean = mean.lerp(gradient, 1 - first)
    square = (second * square).addcmul_(gradient, gradient, value=1 - second)
    of_mean, of_square = (torch.as_tensor(1 - beta**number, dtype=torch.float64).to(gradient) for beta in betas)
    return mean, square, mean / of_mean / (square / of_square).sqrt_().add_(epsilon)


@register_step("adam", help="Adam, per image", search=Range(1e-5, 0.2))
class Adam:
    """x(k+1) = x(k) − α·m̂ / (√v̂ + ε), with the running means of each image."""

    def __init__(self, attack: Attack, images: Tensor) -> None:
        self.mean, self.square = zeros_like(images), zeros_like(images)

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        before = at(self.mean, now.rows), at(self.square, now.rows)
        mean, square, direction = adam(*before, now.gradient, now.number + 1)
        self.mean, self.square = placed(self.mean, now.rows, mean), placed(self.square, now.rows, square)
        return torch.addcmul(now.images, direction, now.size, value=-1)
