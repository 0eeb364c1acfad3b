"""Problems for attacks that spend a budget: several losses, and a harm that no loss tells."""

import torch
from torch import Tensor

from detattack.core.types import WHOLLY_WRONG, Evaluation

SHAPE = (3, 4, 5)


def on_gray_levels(seed: int, count: int = 2, spread: int = 256) -> Tensor:
    """Images on the 256 gray levels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, spread, (count, *SHAPE), generator=generator) / 255


class Valleys:
    """Three losses; the harm goes up and down on the way, by another function of the image.

    seen: rows, members, images and harms of each call. most: harm from which on an image is wholly wrong. lost: rows
    whose loss is NaN, from the call `lost_at` on.
    """

    members = ("first", "second", "third")
    reserve = ()

    def __init__(
        self,
        seed: int = 0,
        members: int = 3,
        tell_harm: bool = True,
        most: float = float("inf"),
        lost: tuple[int, ...] = (),
        lost_at: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.directions = torch.randn(len(self.members), *SHAPE, generator=generator)
        self.other = torch.randn(SHAPE, generator=generator)
        self.members, self.tell_harm, self.most = self.members[:members], tell_harm, most
        self.lost, self.lost_at = lost, lost_at
        self.seen: list[tuple[list[int], list[int] | None, Tensor, Tensor]] = []

    def harm_of(self, images: Tensor) -> Tensor:
        harm = torch.sin(40 * (images * self.other).flatten(1).sum(1).double())
        return torch.where(harm >= self.most, WHOLLY_WRONG + harm, harm)

    def __call__(self, images: Tensor, index: Tensor, members: list[int] | None = None) -> Evaluation:
        chosen = self.directions[members if members is not None else [0] * len(images)]
        loss = (images * chosen).flatten(1).sum(1)
        if len(self.seen) >= self.lost_at:
            broken = torch.tensor([row in self.lost for row in index.tolist()])
            loss = torch.where(broken, torch.nan, loss)
        harm = self.harm_of(images.detach()) if self.tell_harm else -loss.detach().double()
        self.seen.append((index.tolist(), members, images.detach().clone(), harm))
        told = (lambda: harm) if self.tell_harm else None
        return Evaluation(loss, torch.zeros(len(images), dtype=torch.bool), loss.detach().sigmoid(), harm=told)

    def confirm(self, image: Tensor, index: int) -> bool:
        raise AssertionError("an attack that spends a budget asks for no success")

    def of(self, row: int) -> list[tuple[Tensor, float]]:
        """The images seen of a row, in order, and their harm."""
        return [
            (images[rows.index(row)], float(harm[rows.index(row)]))
            for rows, _, images, harm in self.seen
            if row in rows
        ]
