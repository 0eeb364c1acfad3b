"""The attacks on classifiers as data, and their registry.

Step sizes are for CIFAR-10; `detattack classify tune` finds others.
"""

from dataclasses import dataclass
from typing import Literal

from detattack.core.registry import Registry
from detattack.engine.presets import Attack

Loss = Literal["wrong", "true", "margin"]
"""`wrong`: down the cross-entropy of the wrong class (the paper's JND); `true`: up that of the label (Eq. 7, 8);
`margin`: down the logit of the label minus a soft maximum (log Σ exp) of all others, or, to a target, that of the
others minus the logit of the target. The margin is about 0 at the boundary and does not saturate far from it."""


@dataclass(frozen=True)
class Method:
    """An attack, and which way its loss looks."""

    attack: Attack
    loss: Loss = "wrong"


METHODS: Registry[Method] = Registry("method")
"""By name. A targeted attack always goes down the loss of its target."""
PRESETS: Registry[Attack] = Registry("method")
"""The attacks of `METHODS`, by name."""


def register_method(attack: Attack, loss: Loss = "wrong") -> None:
    """Make an attack on classifiers known to `--method` by its name. Raises `InputError` where that is taken."""
    METHODS.register(attack.name, Method(attack, loss))
    PRESETS.register(attack.name, attack)


register_method(
    Attack(
        "jnd",
        "normalized",
        0.02,
        growth=1.02,
        loss_weight=1,
        l2_weight=1,
        range_weight=1,
        tv_weight=1,
        refine=3,
    )
)
register_method(Attack("jnd-paper", "gd", 0.05, loss_weight=10, l2_weight=1, range_weight=1, tv_weight=10))
register_method(Attack("baseline", "gd", 0.05, loss_weight=10, l2_weight=1))
register_method(Attack("baseline-no-l2", "gd", 0.05, loss_weight=10))
register_method(Attack("fgsm", "sign", 1 / 255), "true")
register_method(Attack("fgv", "gd", 0.4), "true")
register_method(Attack("deepfool", "deepfool", 0.02, max_iterations=50))
register_method(Attack("pgd-linf", "sign", 2 / 255, radius=8 / 255, max_iterations=40), "true")
register_method(Attack("pgd-l2", "normalized", 0.05, radius=0.5, norm="l2", max_iterations=40), "true")
register_method(Attack("ddn", "ddn", 1.0, max_iterations=100, stop="budget"), "true")
register_method(Attack("jnd-min", "walk", 1.0, max_iterations=76, stop="budget", undo=8), "margin")
register_method(Attack("jnd-min-quick", "walk", 1.0, max_iterations=32, stop="budget", undo=8), "margin")
register_method(Attack("fmn", "fmn", 1.0, max_iterations=100, stop="budget"), "margin")
register_method(Attack("cw", "cw", 0.002, max_iterations=200, stop="budget"), "margin")
register_method(Attack("noise", "noise", 0.0))
