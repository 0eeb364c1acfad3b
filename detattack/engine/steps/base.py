"""The interface of a step rule, and the registry of all rules.

A rule keeps its state per image of the original batch, so that `rows` (the active images) can change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.registry import Registry
from detattack.engine.presets import Attack

TINY = 1e-12
"""Guards the division by a norm: a zero gradient gives a zero step, never NaN."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """The current iterate of the n images that continue.

    - rows: `[n]`, their places in the batch
    - images, originals: `[n,3,H,W]`, x(k) before rounding, and x(0)
    - gradient: `[n,3,H,W]`, ∂Cost/∂x(k)
    - loss_gradient: `[n,3,H,W]`, that of the first term of the cost alone
    - loss: `[n]`, the first term of the cost, λ1 times the objective's loss
    - success: bool `[n]`, whether the goal holds for x(k)
    - number: `[n,1,1,1]`, k of each image, float64, on the host
    - size: `[n,1,1,1]`, α of each image's iteration
    - seeds: of each image's own randomness
    """

    rows: Tensor
    images: Tensor
    originals: Tensor
    gradient: Tensor
    loss_gradient: Tensor
    loss: Tensor
    success: Tensor
    number: Tensor
    size: Tensor
    seeds: Sequence[int]

    def to_boundary(self) -> Tensor:
        """Return the distance `[n]` to the boundary to first order, |loss| / ‖∂loss/∂x‖₂, where λ1 cancels."""
        return self.loss.abs() / l2_norms(self.loss_gradient).clamp_min(TINY)


class Step(Protocol):
    """A step rule, made for one attack on one batch `[N,3,H,W]`."""

    def __init__(self, attack: Attack, images: Tensor) -> None: ...

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1) `[n,3,H,W]`, not yet clamped."""


@dataclass(frozen=True)
class Range:
    """A range of values from `low` to `high`, both above 0, searched on a logarithmic scale."""

    low: float
    high: float

    def values(self, count: int) -> list[float]:
        """Return the midpoints of `count` equal parts, to four digits."""
        return [rounded(self.low * (self.high / self.low) ** ((i + 0.5) / count)) for i in range(count)]

    def nearest(self, value: float) -> float:
        """Return the nearest value within the range."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class StepRule:
    """A registered step rule.

    - name: in `Attack.step`
    - make: makes the rule for one attack on one batch; None: not a rule for the loop, a function of its own runs it
    - help: what it does, in a few words
    - search: step sizes that `tune` tries, from those that need hundreds of iterations to those that need one; None:
      none
    - own_loop: whether a task runs methods of this rule by a function of its own, so that no other method can use the
      rule
    """

    name: str
    make: Callable[[Attack, Tensor], Step] | None
    help: str
    search: Range | None = None
    own_loop: bool = False


STEPS: Registry[StepRule] = Registry("step rule")
"""All step rules by name, as in `Attack.step` and `--set step=NAME`."""
S = TypeVar("S", bound=type[Step])


def register_step(name: str, *, help: str, search: Range | None = None, own_loop: bool = False) -> Callable[[S], S]:
    """Decorate a class to register it as a step rule.

    - name: in `Attack.step`
    - help, search, own_loop: see `StepRule`

    Raises `InputError` if the name is taken.
    """

    def registered(rule: S) -> S:
        STEPS.register(name, StepRule(name, rule, help, search, own_loop))
        return rule

    return registered


def make_step(attack: Attack, images: Tensor) -> Step:
    """Make the rule of an attack for a batch `[N,3,H,W]`. Raises `InputError` if the loop has no such rule."""
    rule = STEPS.find(attack.step)
    if rule.make is None:
        raise InputError(f"method {attack.name}: step {attack.step} is not for iterations")
    return rule.make(attack, images)


def rounded(value: float) -> float:
    """Round to four digits, as step sizes of a search are tried, saved and printed."""
    return float(f"{value:.4g}")


def unit(vectors: Tensor) -> Tensor:
    """Scale `[n,3,H,W]` to an L2 norm of 1 each; zero stays zero."""
    return vectors / broadcast(l2_norms(vectors).clamp_min(TINY))


def against(gradient: Tensor, images: Tensor, length: Tensor) -> Tensor:
    """Return images `[n,3,H,W]`, moved against a gradient by an L2 of `length` `[n,1,1,1]`, or not if it is 0."""
    return torch.addcmul(images, gradient, length / broadcast(l2_norms(gradient).clamp_min(TINY)), value=-1)


def l2_norms(vectors: Tensor) -> Tensor:
    """Return the L2 norm `[n]` of each of `[n,3,H,W]`."""
    return vectors.flatten(1).norm(dim=1)


def all_finite(vectors: Tensor) -> Tensor:
    """Return whether all values of each of `[n,3,H,W]` are finite, bool `[n]`; on a CPU faster than `isfinite`."""
    return (0 * vectors).flatten(1).sum(1) == 0  # 0 times what is not finite is NaN


def broadcast(values: Tensor) -> Tensor:
    """Reshape `[n]` to `[n,1,1,1]`, to broadcast against images."""
    return values.view(-1, 1, 1, 1)
