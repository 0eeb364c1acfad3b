"""What a step rule is given and what it gives back, and the registry of all rules.

State is kept per image of the original batch, so that `rows` (the images still unsolved) can shrink.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.registry import Registry
from detattack.engine.presets import Attack

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


@dataclass(frozen=True)
class Range:
    """Values from `low` to `high`, both above 0, searched on a logarithmic scale."""

    low: float
    high: float

    def values(self, count: int) -> list[float]:
        """The middles of `count` equal parts, to four digits."""
        return [rounded(self.low * (self.high / self.low) ** ((i + 0.5) / count)) for i in range(count)]

    def nearest(self, value: float) -> float:
        """The value within the range."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class StepRule:
    """A step rule by its name.

    - make: makes the rule for one attack on one batch; None: the loop knows no such rule, a function of its own does
    - help: what it does, in a few words
    - search: step sizes that `tune` tries, from what takes hundreds of iterations to what takes one; None: none
    - own_loop: where a task runs methods of this rule by a function of its own, so no other method can take the rule
    """

    name: str
    make: Callable[[Attack, Tensor], Step] | None
    help: str
    search: Range | None = None
    own_loop: bool = False


STEPS: Registry[StepRule] = Registry("step rule")
"""Every step rule by its name, which is what `Attack.step` and `--set step=NAME` say."""
S = TypeVar("S", bound=type[Step])


def register_step(name: str, *, help: str, search: Range | None = None, own_loop: bool = False) -> Callable[[S], S]:
    """A class decorator: makes a step rule known by a name. Raises `InputError` where the name is taken."""

    def registered(rule: S) -> S:
        STEPS.register(name, StepRule(name, rule, help, search, own_loop))
        return rule

    return registered


def make_step(attack: Attack, images: Tensor) -> Step:
    """The rule of an attack, made for a batch `[N,3,H,W]`. Raises `InputError` where the loop knows none."""
    rule = STEPS.find(attack.step)
    if rule.make is None:
        raise InputError(f"method {attack.name}: step {attack.step} is not for iterations")
    return rule.make(attack, images)


def rounded(value: float) -> float:
    """To four digits, which is what is tried, saved and printed of a search."""
    return float(f"{value:.4g}")


def unit(vectors: Tensor) -> Tensor:
    """`[n,3,H,W]` scaled to L2 length 1 each; zero stays zero."""
    return vectors / spread(lengths(vectors).clamp_min(TINY))


def lengths(vectors: Tensor) -> Tensor:
    """The L2 of each of `[n,3,H,W]`: `[n]`."""
    return vectors.flatten(1).norm(dim=1)


def spread(values: Tensor) -> Tensor:
    """`[n]` as `[n,1,1,1]`, to go with images."""
    return values.view(-1, 1, 1, 1)
