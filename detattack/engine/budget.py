"""Budgets: how large a change may be, all of which an attack spends to make the output as wrong as it can.

`linf:2` (gray levels), `l2:1.0` (in [0,1] units, over all values), `rms:0.5` (root mean square in gray levels, which
means the same for images of all sizes). Several of one norm: `linf:0.5,1,2,4,8`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self, get_args

from detattack.core.errors import InputError, unknown
from detattack.engine.presets import Attack, Norm

GRAY_LEVELS = 255
UNITS = {"linf": "gray levels", "l2": "in [0,1] units", "rms": "gray levels, root mean square"}
LABELS = {"linf": "L∞", "l2": "L2", "rms": "RMS"}
STEP_SHARE = 1 / 4
"""The step size of a method with a step of fixed size, as a share of the budget."""


@dataclass(frozen=True)
class Budget:
    """A bound of the change of each image.

    - norm: `linf`, `l2` or `rms`
    - size: in gray levels, or in [0,1] units for `l2`
    """

    norm: Norm
    size: float

    @classmethod
    def of_radius(cls, norm: Norm, radius: float) -> Self:
        """Make a budget from a radius in [0,1] units, as `Attack` has it."""
        return cls(norm, float(f"{radius if norm == 'l2' else radius * GRAY_LEVELS:.6g}"))

    def __str__(self) -> str:
        return f"{self.norm}:{self.size:g}"

    @property
    def folder(self) -> str:
        """The name of its run folder among those of several budgets."""
        return f"{self.norm}-{self.size:g}"

    @property
    def label(self) -> str:
        """How people write it, e.g. `L∞ 2/255`."""
        size = f"{self.size:g}" if self.norm == "l2" else f"{self.size:g}/255"
        return f"{LABELS[self.norm]} {size}"

    @property
    def radius(self) -> float:
        """The bound as `Attack.radius` has it, in [0,1] units."""
        return self.size if self.norm == "l2" else self.size / GRAY_LEVELS

    @property
    def needs_floats(self) -> bool:
        """Whether no change by whole gray levels is as small: no 8-bit file holds one."""
        return round(self.size, 3) < 1 if self.norm == "linf" else self.norm == "l2" and self.size * GRAY_LEVELS < 1

    def spent_by(self, attack: Attack) -> Attack:
        """Make an attack spend this budget and keep the worst image found. Raises `InputError` where it cannot."""
        steps = STEPS_BY_NORM[self.norm]
        if attack.step not in BUDGET_STEPS or attack.l2_weight:
            raise InputError(
                f"--budget {self}: method {attack.name} looks for a small change and spends no budget; ensemble, "
                "pgd-linf, pgd-l2 and fgsm do"
            )
        if attack.step not in steps:
            other = "pgd-linf" if self.norm == "linf" else "pgd-l2"
            raise InputError(
                f"--budget {self}: the steps of {attack.name} are of another norm; ensemble and {other} do"
            )
        return replace(
            attack,
            radius=self.radius,
            norm=self.norm,
            step_size=self.radius * STEP_SHARE,
            growth=1.0,
            stop="worst",
            refine=0,
            undo=0,
        )


BUDGET_STEPS = ("ensemble", "square", "sign", "normalized", "adam")
STEPS_BY_NORM = {
    "linf": ("ensemble", "square", "sign", "adam"),
    "l2": ("ensemble", "normalized"),
    "rms": ("ensemble", "normalized"),
}
"""Step rules that spend a budget of a norm."""


def budget_of(attack: Attack) -> Budget | None:
    """Return the budget that an attack spends; None: it stops at a success, or looks for the smallest."""
    return budget_in({"attack": vars(attack)})


def budget_in(config: Mapping[str, Any]) -> Budget | None:
    """Return the same of the attack in the config of a run, which may be older than budgets are."""
    attack = config.get("attack") or {}
    if attack.get("stop") != "worst" or attack.get("radius") is None:
        return None
    return Budget.of_radius(attack.get("norm", "linf"), attack["radius"])


def parse_budgets(text: str) -> tuple[Budget, ...]:
    """Parse `NORM:SIZE` or `NORM:SIZE,SIZE,...`; the smallest budget comes first. Raises `InputError`."""
    norm, colon, sizes = text.strip().partition(":")
    if not colon or not sizes:
        raise InputError(f"--budget {text!r}: not of the form linf:2, l2:1.0, rms:0.5 or linf:1,2,4")
    if norm not in get_args(Norm):
        raise unknown("norm of --budget", norm, get_args(Norm))
    budgets = [_budget(text, norm, size) for size in sizes.split(",")]  # type: ignore[arg-type]
    ordered = sorted(budgets, key=lambda budget: budget.size)
    doubled = next((str(a) for a, b in pairwise(ordered) if a == b), None)
    if doubled:
        raise InputError(f"--budget {text!r}: names {doubled} twice")
    return tuple(ordered)


def check_floats(budgets: Sequence[Budget], floats: bool) -> None:
    """Raise `InputError` where no budget leaves anything to change in 8 bits, and floats are not asked for."""
    if not floats and all(budget.needs_floats for budget in budgets):
        raise InputError(f"--budget {budgets[-1]}: below one gray level no 8-bit file differs; --float judges floats")


def _budget(text: str, norm: Norm, size: str) -> Budget:
    try:
        value = float(f"{float(size):.6g}")  # as it is written everywhere
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"--budget {text!r}: {size.strip()!r} is no number above 0 ({UNITS[norm]})")
    if norm != "l2" and value > GRAY_LEVELS:
        raise InputError(f"--budget {text!r}: {value:g} is above {GRAY_LEVELS}, the whole range of gray levels")
    return Budget(norm, value)
