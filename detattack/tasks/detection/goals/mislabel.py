"""`mislabel:CLASS->CLASS`, `mislabel:CLASS@BOX->CLASS`: the same objects, seen as another class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from detattack.core.boxes import Box, iou_matrix
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.tasks.detection.candidates import ImageCandidates, best_at, seen_at_all
from detattack.tasks.detection.goals.base import CleanImage, Goal, Target, register_goal
from detattack.tasks.detection.goals.text import ALL, at_text, parse_fixed_box, parse_parts
from detattack.tasks.detection.matching import MATCH_IOU, SUPPRESS_IOU, at, matched, near, top_score

if TYPE_CHECKING:
    from detattack.datasets.rendered import SceneFacts


@register_goal
@dataclass(frozen=True)
class Mislabel(Goal):
    """Each clean detection of a class (at a box) is to be detected as another class, and no longer as its own."""

    kind: ClassVar[str] = "mislabel"
    form: ClassVar[str] = "mislabel:CLASS->CLASS"
    losses: ClassVar[tuple[str, ...]] = ("relabel",)
    rises: ClassVar[bool] = True

    category: str
    new_category: str
    box: Box | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`CLASS->CLASS`, `CLASS@BOX->CLASS`."""
        category, place, new = parse_parts(text)
        if not new:
            raise InputError("mislabel needs '->CLASS'")
        if ALL in (category, new):
            raise InputError("mislabel needs one class")
        return cls(category, new, parse_fixed_box(cls.kind, place))

    def __str__(self) -> str:
        return f"{self.kind}:{self.category}{at_text(self.box)}->{self.new_category}"

    def classes(self) -> tuple[str, ...]:
        """Name the class of the objects, and the new one."""
        return (self.category, self.new_category)

    def reference(self, target: Target, image: CleanImage) -> Detections:
        """Select the detections of the class (at the box)."""
        return at(image.clean.of(target.classes[0]), target.box)

    def initial_status(self, target: Target, clean: Detections) -> str | None:
        """Return `nothing` where there is no such object, else None."""
        return None if target.objects else "nothing"

    def looked_at(self, target: Target, found: Detections) -> Detections:
        """Select the detections at the box; all where there is none."""
        return at(found, target.box)

    def alternatives(self, seen: Sequence[str]) -> Iterator[Goal]:
        """Yield the goal for each other class that is there."""
        yield from (replace(self, category=name) for name in seen if name != self.new_category)

    def holds(self, target: Target, found: Detections) -> bool:
        """Tell whether each object is detected as the new class, and none as its own."""
        old, new = target.classes
        return all(matched(found, new, box) and not matched(found, old, box) for box in target.objects)

    def confidence(self, target: Target, found: Detections) -> float:
        """Return the lowest score, over the objects, of the new class."""
        return min((top_score(at(found.of(target.classes[1]), box)) for box in target.objects), default=0.0)

    def margin(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Return the lowest, over the objects, of the new class's best logit there."""
        nothing = seen.logits.new_full((), torch.inf)
        return torch.stack([nothing, *(best_at(seen, target.classes[1], box) for box in target.objects)]).min()

    def possible(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Tell whether a candidate of the new class is above τ at each object."""
        return seen_at_all(seen, target.classes[1], target.objects)

    def aimed_at(self, target: Target, clean: Detections) -> Tensor:
        """Select the detections of the class at the objects."""
        return clean.are_of(target.classes[0]) & _at_objects(target, clean)

    def others(self, target: Target, clean: Detections) -> Tensor:
        """Select all but the detections of the class (near the box)."""
        of_class = clean.are_of(target.classes[0])
        return ~of_class if target.box is None else ~(of_class & near(clean, target.box, SUPPRESS_IOU))

    def asked_for(self, target: Target, found: Detections) -> Tensor:
        """Select the detections of the new class at the objects."""
        return found.are_of(target.classes[1]) & _at_objects(target, found)

    def suits(self, scene: "SceneFacts") -> bool:
        """Such an object is in it, as far as the renderer knows the class."""
        return scene.may_show(self.category)


def _at_objects(target: Target, found: Detections) -> Tensor:
    objects = torch.tensor(target.objects, dtype=torch.float32, device=found.boxes.device).reshape(-1, 4)
    return (iou_matrix(found.boxes, objects) >= MATCH_IOU).any(1)
