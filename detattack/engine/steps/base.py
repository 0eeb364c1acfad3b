"""What a step rule is given and what it gives back.

State is kept per image of the original batch, so that `rows` (the images still unsolved) can shrink.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from detattack.engine.presets import Attack
from torch import Tensor

TINY = 1e-12
"""Guards the division by a norm: a zero gradient gives a zero step, never NaN."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """What one iteration has seen of the n images that go on.

    rows `[n]`: which images of the batch these are. images, originals `[n,3,H,W]`: x(k), before rounding, and
    x(0). gradient `[n,3,H,W]`: of the cost. loss `[n]`: its first term, λ1 times that of the objective. success bool
    `[n]`: proposed for x(k). number `[n,1,1,1]`: k of each image, float64, on the host. size `[n,1,1,1]`: α of its
    iteration. seeds: of each image's own randomness. regularizers: gives the gradient `[n,3,H,W]` of the other terms
    of the cost; None: there are none.
    """

    rows: Tensor
    images: Tensor
    originals: Tensor
    gradient: Tensor
    loss: Tensor
    success: Tensor
    number: Tensor
    size: Tensor
    seeds: Sequence[int]
    regularizers: Callable[[], Tensor] | None = None

    def to_boundary(self) -> Tensor:
        """The distance `[n]` to the boundary, to first order: |loss| / ‖∂loss/∂x‖, where λ1 cancels out."""
        of_loss = self.gradient if self.regularizers is None else self.gradient - self.regularizers()
        return self.loss.abs() / lengths(of_loss).clamp_min(TINY)


class Step(Protocol):
    """A step rule, made for one attack on one batch `[N,3,H,W]`."""

    def __init__(self, attack: Attack, images: Tensor) -> None: ...

    def step(self, now: Iterate) -> Tensor:
        """x(k+1) `[n,3,H,W]`, not yet clamped."""


def unit(vectors: Tensor) -> Tensor:
    """`[n,3,H,W]` scaled to L2 length 1 each; zero stays zero."""
    return vectors / spread(lengths(vectors).clamp_min(TINY))


def lengths(vectors: Tensor) -> Tensor:
    """The L2 of each of `[n,3,H,W]`: `[n]`."""
    return vectors.flatten(1).norm(dim=1)


def spread(values: Tensor) -> Tensor:
    """`[n]` as `[n,1,1,1]`, to go with images."""
    return values.view(-1, 1, 1, 1)
