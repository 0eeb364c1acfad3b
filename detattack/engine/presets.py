"""Attacks as data: a step rule, its size, and the weights of the cost (Eq. 2). One loop runs them all."""

from dataclasses import dataclass, field
from typing import Literal

from detattack.core.registry import Registry

Norm = Literal["linf", "l2", "rms"]
Stop = Literal["first", "confidence", "budget", "worst"]
UNIT = "unit"
"""Metadata key of a field of `Attack`: the field that gives its value a meaning.

The same value is the same setting for two attacks only if they agree in that field.
"""


@dataclass(frozen=True)
class Attack:
    """Settings of one attack.

    - name: the name in reports
    - step: the name of a registered step rule (`engine/steps`). For classifiers, `deepfool` has a loop of its own;
      `noise` is no descent at all but the control: random noise of the L2 that `jnd` needs
    - step_size: α, in [0,1] units (`deepfool`: the overshoot)
    - growth: factor on α from one iteration to the next, for images on which α is too small
    - loss_weight, l2_weight, range_weight, tv_weight: λ1..λ4 of Eq. 2
    - max_iterations: maximum number of updates; the last iterate is judged, too
    - levels: 256: the model sees, and is judged on, 8-bit images; None: floats
    - stop: at the `first` success; at the first success with `stop_confidence` (`confidence`); after `max_iterations`,
      keeping the smallest success (`budget`) or, whether or not the goal holds, the image that does most harm (`worst`)
    - stop_confidence: in [0,1], for `stop` = `confidence`
    - radius: maximum distance of any iterate from the original, in `norm` (PGD's projection), in [0,1] units; in L∞
      with `levels`, rounding does not exceed it either; None: no bound
    - norm: of the radius: `linf`, `l2`, or `rms`, the L2 divided by the root of the number of values, which means the
      same for images of all sizes
    - refine: trials along the line from the original to a success, which shrink it while the goal holds; 0: none
    - undo: with `levels`, trials of the search that then reverts changes of one gray level, those that help least
      first, while the goal holds; 0: none
    - perceptual: weight the L2 by local contrast, see `perceptual.py`
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
"""The methods of `--method` on detectors; one with a radius also as `NAME@GRAYLEVELS`, see `config.named_attack`."""


def register_method(attack: Attack) -> None:
    """Register an attack on detectors for `--method`, by its name. Raises `InputError` if the name is taken."""
    PRESETS.register(attack.name, attack)


register_method(Attack("jnd-paper", "gd", 0.03, l2_weight=1, range_weight=1, tv_weight=1))
register_method(Attack("jnd", "normalized", 0.15, growth=1.02, l2_weight=0.05, range_weight=1, tv_weight=1, refine=2))
register_method(Attack("baseline", "gd", 0.03, l2_weight=1))
register_method(Attack("fgsm", "sign", 1 / 255))
register_method(Attack("fgv", "gd", 0.03))
register_method(Attack("pgd-linf", "sign", 2 / 255, radius=8 / 255, max_iterations=100))
register_method(Attack("pgd-l2", "normalized", 0.5, radius=2.0, norm="l2", max_iterations=100))
register_method(Attack("ensemble", "ensemble", 0.5 / 255, radius=2 / 255, max_iterations=60, stop="worst"))
register_method(Attack("square", "square", 0.0, radius=8 / 255, max_iterations=300))
register_method(Attack("jnd-min", "walk", 1.0, max_iterations=76, stop="budget", undo=8))
register_method(Attack("jnd-min-quick", "walk", 1.0, max_iterations=32, stop="budget", undo=8))
register_method(Attack("ddn", "ddn", 1.0, max_iterations=100, stop="budget"))
register_method(Attack("fmn", "fmn", 1.0, max_iterations=100, stop="budget"))
register_method(Attack("cw", "cw", 0.002, max_iterations=200, stop="budget"))
register_method(Attack("deepfool", "deepfool", 0.02, max_iterations=50))
register_method(Attack("noise", "noise", 0.0))
