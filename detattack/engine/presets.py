"""Attacks as data: a step rule, its size, and the weights of the cost (Eq. 2). One loop runs them all."""

from dataclasses import dataclass, field
from typing import Literal

from detattack.core.registry import Registry

Norm = Literal["linf", "l2"]
Stop = Literal["first", "confidence", "budget"]
UNIT = "unit"
"""In the metadata of a field of `Attack`: the field that says what a value of it means. The same value is the same
setting for several attacks only where they agree in that."""


@dataclass(frozen=True)
class Attack:
    """One attack.

    name: what reports call it.
    step: the name of a registered step rule (`engine/steps`). Of classifiers, `deepfool` has a loop of its own; `noise`
        is no descent at all but the control: random noise of the L2 that `jnd` needs.
    step_size: α, in [0,1] units (`deepfool`: the overshoot). growth: factor on α from one iteration to the next, for
        images on which α is too small.
    loss_weight, l2_weight, range_weight, tv_weight: λ1..λ4 of Eq. 2.
    max_iterations: updates at most; the last iterate is judged too.
    levels: 256: the model sees, and is judged on, 8-bit images; None: floats.
    stop: `first` success; first success with `stop_confidence`; or `budget`: go on to `max_iterations` and
        keep the smallest success.
    radius: distance from the original, in `norm`, that no iterate leaves (PGD's projection), in [0,1] units; L∞
        with `levels` not by rounding either; None: no bound.
    refine: trials of the bisection that shrinks a found perturbation while the goal holds; 0: none.
    undo: with `levels`, trials of the search that then takes changes of one gray level back, those that help least
        first, while the goal holds; 0: none.
    perceptual: the L2 counts changes for less where the original has more local contrast, see `contrast.py`.
    """

    name: str
    step: str = field(metadata={UNIT: "step"})
    step_size: float = field(metadata={UNIT: "step"})
    growth: float = 1.0
    loss_weight: float = 1.0
    l2_weight: float = 0.0
    range_weight: float = 0.0
    tv_weight: float = 0.0
    max_iterations: int = 300
    levels: int | None = 256
    stop: Stop = "first"
    stop_confidence: float = 0.0
    radius: float | None = field(default=None, metadata={UNIT: "norm"})
    norm: Norm = field(default="linf", metadata={UNIT: "norm"})
    refine: int = 0
    undo: int = 0
    perceptual: bool = False


PRESETS: Registry[Attack] = Registry("method")
"""The methods of `--method` on detectors, by name; one with a radius also as `NAME@GRAYLEVELS`, see
`config.named_attack`."""


def register_method(attack: Attack) -> None:
    """Makes an attack on detectors known to `--method` by its name. Raises `InputError` where that is taken."""
    PRESETS.register(attack.name, attack)


register_method(Attack("jnd-paper", "gd", 0.03, l2_weight=1, range_weight=1, tv_weight=1))
register_method(Attack("jnd", "normalized", 0.15, growth=1.02, l2_weight=0.05, range_weight=1, tv_weight=1, refine=6))
register_method(Attack("baseline", "gd", 0.03, l2_weight=1))
register_method(Attack("fgsm", "sign", 1 / 255))
register_method(Attack("fgv", "gd", 0.03))
register_method(Attack("pgd-linf", "sign", 2 / 255, radius=8 / 255, max_iterations=100))
register_method(Attack("pgd-l2", "normalized", 0.5, radius=2.0, norm="l2", max_iterations=100))
register_method(Attack("jnd-min", "walk", 1.0, max_iterations=90, stop="budget", undo=8))
register_method(Attack("ddn", "ddn", 1.0, max_iterations=100, stop="budget"))
register_method(Attack("fmn", "fmn", 1.0, max_iterations=100, stop="budget"))
register_method(Attack("cw", "cw", 0.002, max_iterations=200, stop="budget"))
register_method(Attack("deepfool", "deepfool", 0.02, max_iterations=50))
register_method(Attack("noise", "noise", 0.0))
