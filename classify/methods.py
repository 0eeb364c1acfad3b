"""The attacks on classifiers as data. Step sizes are for CIFAR-10; `detattack classify tune` finds others."""

from dataclasses import dataclass

from classify.objective import Loss
from detattack.engine import Attack


@dataclass(frozen=True)
class Method:
    """An attack, and which way its loss looks."""

    attack: Attack
    loss: Loss = "wrong"


METHODS = {
    method.attack.name: method
    for method in (
        Method(
            Attack(
                "jnd",
                "normalized",
                0.02,
                growth=1.02,
                loss_weight=1,
                l2_weight=1,
                range_weight=1,
                tv_weight=1,
                refine=6,
            )
        ),
        Method(Attack("jnd-paper", "gd", 0.05, loss_weight=10, l2_weight=1, range_weight=1, tv_weight=10)),
        Method(Attack("baseline", "gd", 0.05, loss_weight=10, l2_weight=1)),
        Method(Attack("baseline-no-l2", "gd", 0.05, loss_weight=10)),
        Method(Attack("fgsm", "sign", 1 / 255), "true"),
        Method(Attack("fgv", "gd", 0.4), "true"),
        Method(Attack("deepfool", "deepfool", 0.02, max_iterations=50)),
        Method(Attack("pgd-linf", "sign", 2 / 255, radius=8 / 255, max_iterations=40), "true"),
        Method(Attack("pgd-l2", "normalized", 0.05, radius=0.5, norm="l2", max_iterations=40), "true"),
        Method(Attack("ddn", "ddn", 1.0, max_iterations=100, stop="budget"), "true"),
        Method(Attack("jnd-min", "walk", 1.0, max_iterations=90, stop="budget", undo=8), "margin"),
        Method(Attack("fmn", "fmn", 1.0, max_iterations=100, stop="budget"), "margin"),
        Method(Attack("cw", "cw", 0.002, max_iterations=200, stop="budget"), "margin"),
        Method(Attack("noise", "noise", 0.0)),
    )
}
"""By name. A targeted attack always goes down the loss of its target."""
PRESETS = {name: method.attack for name, method in METHODS.items()}
