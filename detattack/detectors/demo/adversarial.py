"""Attacks on a share of each batch, for training that makes a detector resist them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detattack.core.errors import InputError

__all__ = ["Adversary", "attacked", "parse_adversary"]

LEAST = 0.25
"""Of the radius: each image's own is drawn evenly from this share of it to all of it."""
REACH = 1.25
"""Sum of an attack's steps, in radii: from its random start it comes to the edge."""


@dataclass(frozen=True)
class Adversary:
    """What attacks the training.

    radius: largest change of a channel, in gray levels. share: of each batch's images that are attacked. steps: at
    most so many signed steps of the training loss; each batch draws from one to all.
    """

    radius: float
    share: float = 2 / 3
    steps: int = 2

    def count(self, images: int) -> int:
        """Return how many of so many images are attacked, always the first ones of a batch."""
        return round(self.share * images)


def parse_adversary(text: str) -> Adversary:
    """Parse `linf:N`, N gray levels above 0 and at most 255. Raises `InputError`."""
    norm, _, number = text.partition(":")
    if norm != "linf":
        raise InputError(f"--adversarial {text!r}: expected linf:N, a distance of N gray levels")
    try:
        radius = float(number)
    except ValueError:
        radius = 0.0
    if not 0 < radius <= 255:
        raise InputError(f"--adversarial {text!r}: N must be a number of gray levels above 0, at most 255")
    return Adversary(radius)


def attacked(
    network: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor], adversary: Adversary, random: Generator
) -> Tensor:
    """Return images `[n,3,H,W]` in [0,1] moved by signed steps that raise their loss, from a random start.

    loss: of the images as they are moved, summed. Statistics of norms are those of inference and stay as they are.
    """
    radii = adversary.radius / 255 * (LEAST + (1 - LEAST) * torch.rand(len(images), 1, 1, 1, generator=random))
    low, high = (images - radii).clamp_min(0), (images + radii).clamp_max(1)
    steps = int(torch.randint(1, adversary.steps + 1, (), generator=random))
    moved = low + (high - low) * torch.rand(images.shape, generator=random)
    with _norms_at_rest(network):
        for _ in range(steps):
            moved.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(moved), moved)
            moved = (moved.detach() + REACH / steps * radii * gradient.sign()).clamp(low, high)
    return moved


@contextmanager
def _norms_at_rest(network: nn.Module) -> Iterator[None]:
    """Let batch norms use their running statistics, and keep these as they are."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
