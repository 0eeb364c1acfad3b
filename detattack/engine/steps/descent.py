"""Step rules of plain descent: x(k+1) from x(k), where g is ∂Cost/∂x(k) and α the step size."""

import torch
from torch import Tensor

from detattack.engine.presets import Attack
from detattack.engine.steps.base import Iterate, Range, against, register_step


@register_step("gd", help="gradient descent (Eq. 4)", search=Range(1e-5, 100))
class GradientDescent:
    """x(k+1) = x(k) − α·g (Eq. 4). Without regularization this is FGV (Eq. 8)."""

    def __init__(self, attack: Attack, images: Tensor) -> None:
        """Nothing to remember."""

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        return torch.addcmul(now.images, now.gradient, now.size, value=-1)


@register_step("normalized", help="a step of L2 length step_size", search=Range(2e-3, 5))
class Normalized(GradientDescent):
    """x(k+1) = x(k) − α·g / ‖g‖₂: a step of L2 norm α, whatever the scale of the loss."""

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        return against(now.gradient, now.images, now.size)


@register_step("sign", help="the sign of the gradient, iterated (Eq. 7)", search=Range(1e-5, 0.2))
class Sign(GradientDescent):
    """x(k+1) = x(k) − α·sign(g): Eq. 7, iterated."""

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        return torch.addcmul(now.images, now.gradient.sign(), now.size, value=-1)
