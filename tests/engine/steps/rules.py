"""A step rule outside of the loop, and gradients to give it."""

import torch

from detattack.engine.presets import Attack
from detattack.engine.steps import Iterate, make_step

ROWS = torch.arange(4)


def gradients(count=1, shape=(4, 3, 5, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1e-6, 1.0, 30.0, 1e4], dtype=torch.float64).view(-1, 1, 1, 1)[: shape[0]]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) * scale for _ in range(count)]


class Rule:
    """A step rule on images of zeros, asked for its change alone."""

    def __init__(self, rule, shape=(4, 3, 5, 6), dtype=torch.float64):
        self.images = torch.full(shape, 0.0, dtype=dtype)
        self.rule = make_step(Attack("t", rule, 1.0), self.images)
        self.count = 0

    def step(self, gradient, rows, size):
        images = self.images[rows]
        success = torch.zeros(len(rows), dtype=torch.bool)
        number = torch.full((len(rows), 1, 1, 1), self.count, dtype=torch.float64)
        self.count += 1
        sizes = torch.full_like(number, size).to(images)
        loss = gradient.flatten(1).sum(1)
        now = Iterate(rows, images, images, gradient, gradient, loss, success, number, sizes, seeds=rows.tolist())
        return self.rule.step(now) - images
