"""A third party's classifier in one file: is the left half brighter, or the right? Linear, so the smallest change
that it takes for something else is known: a picture's `distance`."""

from pathlib import Path

import torch
from torch import Tensor

SHARPNESS = 4.0


def direction(height: int, width: int) -> Tensor:
    """`[3,H,W]` of length 1: the way from right to left."""
    sides = torch.ones(3, height, width)
    sides[:, :, width // 2 :] = -1
    return sides / sides.norm()


def distance(image: Tensor) -> Tensor:
    """Of `[...,3,H,W]` in [0,1] to the boundary, along its normal; positive on the side of `left`."""
    return (image * direction(*image.shape[-2:]).to(image)).sum((-3, -2, -1))


class Linear:
    name = "linear"
    classes = ("left", "right")
    smallest = 8

    def __init__(self, device: str):
        self.device = torch.device(device)

    def logits(self, images: Tensor) -> Tensor:
        sides = SHARPNESS * distance(images)
        return torch.stack((sides, -sides), 1)


class Interrupted(Linear):
    """As if Ctrl-C came at the call whose number is in a file `interrupt` beside this one."""

    calls = 0

    def logits(self, images: Tensor) -> Tensor:
        self.calls += 1
        file = Path(__file__).with_name("interrupt")
        if file.exists() and self.calls == int(file.read_text()):
            raise KeyboardInterrupt
        return super().logits(images)


factory, interrupted = Linear, Interrupted
