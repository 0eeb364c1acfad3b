"""An own step rule and a method of it: the sign of a running mean of the gradient (momentum), `--method mi`."""

import torch

from detattack.engine.presets import Attack, register_method
from detattack.engine.steps import Range, register_step


@register_step("momentum", help="the sign of a running mean of the gradient", search=Range(1e-4, 0.1))
class Momentum:
    decay = 0.9

    def __init__(self, attack, images):
        self.mean = torch.zeros_like(images)

    def step(self, now):
        unit = now.gradient / now.gradient.abs().flatten(1).sum(1).clamp_min(1e-12).view(-1, 1, 1, 1)
        self.mean[now.rows] = mean = self.decay * self.mean[now.rows] + unit
        return now.images - now.size * mean.sign()


register_method(Attack("mi", "momentum", 2 / 255, radius=16 / 255, max_iterations=40))
