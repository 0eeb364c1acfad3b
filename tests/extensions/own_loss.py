"""An own loss and a goal that has it: only the best candidate of the class is pressed down, `vanish-top:CLASS`."""

from dataclasses import dataclass
from typing import ClassVar

from detattack.tasks.detection.goals import Suppress, register_goal
from detattack.tasks.detection.losses import MARGIN, register_loss, smooth_hinge


@register_loss("top", help="the best candidate's score down")
def top(seen, target):
    return smooth_hinge(seen.relative[:, target.labels].max() + MARGIN)


@register_goal
@dataclass(frozen=True)
class VanishTop(Suppress):
    kind: ClassVar[str] = "vanish-top"
    form: ClassVar[str] = "vanish-top:CLASS"
    losses: ClassVar[tuple[str, ...]] = ("top",)
