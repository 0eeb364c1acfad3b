"""A problem whose nearest solution is known: the goal holds beyond a plane, `distance` away from the image."""

from collections.abc import Callable

import torch
from torch import Tensor

from detattack.core.types import Evaluation


class HalfSpace:
    """Loss: signed distance to the plane along `normal`, `[3,H,W]`; the goal holds where it is negative.

    told: a function of the loss that is told as the margin; None: none is.
    """

    def __init__(
        self, images: Tensor, normal: Tensor, distance: float, told: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.told = told
        self.images, self.normal, self.distance = images, normal / normal.norm(), distance
        self.confirmed: list[int] = []

    def _loss(self, images: Tensor, index: Tensor) -> Tensor:
        return self.distance - ((images - self.images[index]) * self.normal).flatten(1).sum(1)

    def __call__(self, images: Tensor, index: Tensor) -> Evaluation:
        loss = self._loss(images, index)
        margin = None if self.told is None else self.told(loss.detach())
        return Evaluation(loss, loss < 0, torch.sigmoid(-loss).detach(), margin=margin)

    def confirm(self, image: Tensor, index: int) -> bool:
        self.confirmed.append(index)
        return bool(self._loss(image[None], torch.tensor([index])) < 0)
