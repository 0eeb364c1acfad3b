"""`suppress:CLASS`, `suppress:all`, `suppress:CLASS@BOX`: no detection of the class is left, or none at the box."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.errors import InputError
from detattack.core.types import Detections, Evaluation
from detattack.tasks.detection.candidates import MARGIN, ROUNDING, ImageCandidates, columns, logit, targeted_logits
from detattack.tasks.detection.goals.base import Goal, Target, register_goal
from detattack.tasks.detection.goals.text import ALL, at_text, parse_fixed_box, parse_parts
from detattack.tasks.detection.losses import smooth_hinge
from detattack.tasks.detection.matching import SUPPRESS_IOU, at, near, top_score

if TYPE_CHECKING:
    from detattack.datasets.rendered import SceneFacts


@register_goal
@dataclass(frozen=True)
class Suppress(Goal):
    """Detections of a class, or of `all`, are to vanish: everywhere, or where their IoU with `box` is ≥ .3."""

    kind: ClassVar[str] = "suppress"
    form: ClassVar[str] = "suppress:CLASS"
    losses: ClassVar[tuple[str, ...]] = ("vanish",)

    category: str
    box: Box | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`CLASS`, `all`, `CLASS@BOX`."""
        category, place, new = parse_parts(text)
        if new:
            raise InputError("'->CLASS' belongs to mislabel")
        return cls(category, parse_fixed_box(cls.kind, place))

    def __str__(self) -> str:
        return f"{self.kind}:{self.category}{at_text(self.box)}"

    def classes(self) -> tuple[str, ...]:
        """Name the class that is to vanish; none: all."""
        return () if self.category == ALL else (self.category,)

    def initial_status(self, target: Target, clean: Detections) -> str | None:
        """Return `nothing` where no such detection is there, else None."""
        return "nothing" if self.holds(target, clean) else None

    def alternatives(self, seen: Sequence[str]) -> Iterator[Goal]:
        """Yield the goal for each class that is there, then for all."""
        yield from (replace(self, category=name) for name in (*seen, *([ALL] if seen else [])))

    def holds(self, target: Target, found: Detections) -> bool:
        """Tell whether no detection of the class is left (at the box)."""
        return not len(at(found.of(target.named), target.box, SUPPRESS_IOU))

    def confidence(self, target: Target, found: Detections) -> float:
        """Return the highest score that is to vanish."""
        return top_score(at(found.of(target.named), target.box, SUPPRESS_IOU))

    def margin(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Return the largest logit, relative to τ, that is to fall."""
        return targeted_logits(seen, target.named, target.box).max()

    def possible(self, target: Target, seen: ImageCandidates) -> Tensor:
        """For everything everywhere: where no score is above τ. Else NMS decides."""
        if target.labels or target.box:
            return super().possible(target, seen)
        return (seen.logits.sigmoid() <= seen.score_threshold + ROUNDING).all()

    def needs_boxes(self, target: Target) -> bool:
        """Tell whether the goal names a box, or has a loss of its own."""
        return target.box is not None or self.losses != Suppress.losses

    def of_logits(self, target: Target, logits: Tensor, score_threshold: float) -> Evaluation:
        """`vanish` anywhere in the images: above τ each is a detection."""
        of_class = logits[..., columns(target.named)]
        highest = of_class.detach().amax((1, 2))
        confidence = highest.sigmoid()
        loss = smooth_hinge(of_class + (MARGIN - logit(score_threshold))).sum((1, 2))
        margin = highest - logit(score_threshold)
        return Evaluation(loss, confidence <= score_threshold, confidence, margin=margin)

    def aimed_at(self, target: Target, clean: Detections) -> Tensor:
        """Select the detections of the class (near the box)."""
        of_class = super().aimed_at(target, clean)
        return of_class if target.box is None else of_class & near(clean, target.box, SUPPRESS_IOU)

    def suits(self, scene: "SceneFacts") -> bool:
        """Such an object is in it, as far as the renderer knows the class."""
        return not self.classes() or scene.may_show(self.category)
