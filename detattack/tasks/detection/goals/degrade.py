"""`degrade:all`, `degrade:CLASS`: no reference object is found any more, whatever is detected instead."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.tasks.detection.candidates import ROUNDING, ImageCandidates, at_objects
from detattack.tasks.detection.goals.base import CleanImage, Goal, Target, register_goal
from detattack.tasks.detection.goals.text import ALL, parse_parts
from detattack.tasks.detection.harm import harm
from detattack.tasks.detection.matching import MATCH_IOU, at, matched, top_score

if TYPE_CHECKING:
    from detattack.datasets.rendered import SceneFacts


@register_goal
@dataclass(frozen=True)
class Degrade(Goal):
    """The untargeted attack in the field's sense: every object of a class, or of `all`, is missed or taken for another.

    The objects are the annotated ones, or what is detected untouched. An object is found where a detection of its class
    has IoU ≥ .5 with it.
    """

    kind: ClassVar[str] = "degrade"
    form: ClassVar[str] = "degrade:CLASS"
    losses: ClassVar[tuple[str, ...]] = ("unmatch",)
    of_objects: ClassVar[bool] = True
    members: ClassVar[tuple[str, ...]] = ("unmatch", "mislabel", "vanish")
    reserve: ClassVar[tuple[str, ...]] = ("outrank",)

    category: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`CLASS`, `all`."""
        category, place, new = parse_parts(text)
        if new or place:
            raise InputError("degrade takes a class or 'all', and nothing else")
        return cls(category)

    def __str__(self) -> str:
        return f"{self.kind}:{self.category}"

    def classes(self) -> tuple[str, ...]:
        """Name the class of the objects; none: all."""
        return () if self.category == ALL else (self.category,)

    def reference(self, target: Target, image: CleanImage) -> Detections:
        """Select the reference objects of the class."""
        return image.objects.of(target.named)

    def initial_status(self, target: Target, clean: Detections) -> str | None:
        """Return `nothing` where there is no object, `already` where none is found untouched, else None."""
        return super().initial_status(target, clean) if target.objects else "nothing"

    def alternatives(self, seen: Sequence[str]) -> Iterator[Goal]:
        """Yield the goal for each class that is there, then for all."""
        yield from (replace(self, category=name) for name in (*seen, *([ALL] if seen else [])))

    def already(self, score: float | None = None) -> str:
        """Say that no object is found untouched."""
        return "no reference object is found untouched"

    def holds(self, target: Target, found: Detections) -> bool:
        """Tell whether no object is found."""
        return not any(matched(found, (label,), box) for label, box in _objects(target))

    def confidence(self, target: Target, found: Detections) -> float:
        """Return the highest score that an object is found with."""
        return max((top_score(at(found.of(label), box)) for label, box in _objects(target)), default=0.0)

    def margin(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Return the largest logit, relative to τ, of an object's class at the object."""
        own, overlap = at_objects(seen, *target.places)
        if not target.objects:
            return own.new_full((), -torch.inf)
        return own.masked_fill(overlap < MATCH_IOU, -torch.inf).max()

    def possible(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Tell whether the surest candidate of all leaves it open: no NMS hides that one."""
        if not target.objects or not len(seen.logits):
            return super().possible(target, seen)
        own, overlap = at_objects(seen, *target.places)
        surest = seen.relative.amax()
        found = (own == surest) & (overlap >= MATCH_IOU + ROUNDING)
        return ~(found.any() & (surest > ROUNDING))

    def harm(self, target: Target, found: Detections) -> float:
        """Tell how little of the objects' average precision is left."""
        labels = target.firsts(torch.tensor(target.object_labels).long())
        named, counted = target.firsts(found.labels), torch.ones_like(found.labels, dtype=torch.bool)
        if target.counting:
            counted = torch.isin(found.labels, torch.tensor(target.counting).to(found.labels))
        of_class = Detections(found.boxes[counted], found.scores[counted], named[counted])
        return harm(of_class, torch.tensor(target.objects).reshape(-1, 4), labels)

    def suits(self, scene: "SceneFacts") -> bool:
        """Such an object is in it, as far as the renderer knows the class."""
        return not self.classes() or scene.may_show(self.category)


def _objects(target: Target) -> Iterator[tuple[int, Box]]:
    boxes, labels = target.places
    return zip(labels, boxes, strict=True)
