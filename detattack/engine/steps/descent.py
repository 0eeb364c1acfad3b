"""Step rules that descend: from what an iteration has seen to the next images; and the table of all rules."""

from detattack.engine.presets import Attack
from detattack.engine.steps.base import Iterate, Step, unit
from detattack.engine.steps.minimum_norm import DDN, FMN, BoundaryWalk, CarliniWagner, DeepFool
from torch import Tensor, zeros_like


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
        self.mean, self.square = zeros_like(images), zeros_like(images)

    def step(self, now: Iterate) -> Tensor:
        first, second = self.betas
        first_share, second_share = ((1 - beta ** (now.number + 1)).to(now.images) for beta in self.betas)
        self.mean[now.rows] = mean = first * self.mean[now.rows] + (1 - first) * now.gradient
        self.square[now.rows] = square = second * self.square[now.rows] + (1 - second) * now.gradient.square()
        unbiased = (square / second_share).sqrt()
        return now.images - now.size * mean / first_share / (unbiased + self.epsilon)


STEPS: dict[str, type[Step]] = {
    "gd": GradientDescent,
    "normalized": Normalized,
    "adam": Adam,
    "sign": Sign,
    "ddn": DDN,
    "fmn": FMN,
    "cw": CarliniWagner,
    "deepfool": DeepFool,
    "walk": BoundaryWalk,
}
