"""`inject:CLASS@PLACE`: a detection of the class at the place (IoU ≥ .5), a box or one of `PLACES`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from detattack.core.boxes import Box, iou_matrix
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.tasks.detection.candidates import ImageCandidates, best_at, seen_at_all
from detattack.tasks.detection.goals.base import CleanImage, Goal, Target, register_goal
from detattack.tasks.detection.goals.text import ALL, at_text, parse_parts, parse_place
from detattack.tasks.detection.matching import MATCH_IOU, as_tensor, at, matched, near, top_score

if TYPE_CHECKING:
    from detattack.datasets.rendered import SceneFacts

RANDOM_IOU = 0.1
"""A random place keeps its IoU with every clean detection below this."""
RANDOM_TRIALS = 1000


@register_goal
@dataclass(frozen=True)
class Inject(Goal):
    """An object that is not there is to be seen at a box: one that is given, or is chosen for each image."""

    kind: ClassVar[str] = "inject"
    form: ClassVar[str] = "inject:CLASS@PLACE"
    losses: ClassVar[tuple[str, ...]] = ("inject",)
    rises: ClassVar[bool] = True

    category: str
    place: Box | str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`CLASS@BOX`, `CLASS@center`, `CLASS@random`, `CLASS@road`."""
        category, place, new = parse_parts(text)
        if new:
            raise InputError("'->CLASS' belongs to mislabel")
        if not place:
            raise InputError(f"inject needs a place, e.g. inject:{category}@center")
        if category == ALL:
            raise InputError("inject needs one class")
        return cls(category, parse_place(place))

    def __str__(self) -> str:
        return f"{self.kind}:{self.category}{at_text(self.place)}"

    def classes(self) -> tuple[str, ...]:
        """Name the class of the new object."""
        return (self.category,)

    @property
    def box(self) -> Box | None:
        """The box, where it is the same for all images."""
        return None if isinstance(self.place, str) else self.place

    def locate(self, image: CleanImage) -> Box | None:
        """Place the box in an image. Raises `InputError` where no such place is free, or known."""
        if self.place == "center":
            w, h = image.width, image.height
            return (w * 3 / 8, h * 3 / 8, w * 5 / 8, h * 5 / 8)
        if self.place == "random":
            return random_box(image)
        if self.place == "road" and image.road is None:
            raise InputError(f"goal '{self}': no free road is known here (rendered scenes only, and not all)")
        return image.road if self.place == "road" else super().locate(image)

    def already(self, score: float | None = None) -> str:
        """Say that the object is there untouched."""
        return f"{self.category}{'' if score is None else f' {score:.2f}'} is at the box already"

    def alternatives(self, seen: Sequence[str]) -> Iterator[Goal]:
        """Yield the goal at a random place."""
        yield replace(self, place="random")

    def holds(self, target: Target, found: Detections) -> bool:
        """Tell whether the class is detected at the box."""
        return matched(found, target.classes[0], _box(target))

    def confidence(self, target: Target, found: Detections) -> float:
        """Return the highest score of the class at the box."""
        return top_score(at(found.of(target.named), target.box))

    def margin(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Return the largest logit of the class at the box, relative to τ."""
        return best_at(seen, target.classes[0], _box(target))

    def possible(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Tell whether a candidate of the class is above τ at the box."""
        return seen_at_all(seen, target.classes[0], (_box(target),))

    def asked_box(self, target: Target) -> Box | None:
        """Return the box of the new object."""
        return target.box

    def asked_iou(self, target: Target, found: Detections) -> float | None:
        """Return the best IoU of a detection of the class with the box; 0 where there is none."""
        boxes = found.of(target.named).boxes
        return float(iou_matrix(boxes, as_tensor(_box(target), boxes)).max()) if len(boxes) else 0.0

    def aimed_at(self, target: Target, clean: Detections) -> Tensor:
        """None: what is there may stay, all of it."""
        return torch.zeros_like(clean.labels, dtype=torch.bool)

    def places(self, target: Target, clean: Detections) -> tuple[Box, ...]:
        """Return the box of the new object."""
        return (_box(target),)

    def others(self, target: Target, clean: Detections) -> Tensor:
        """Select what does not stand where the new object is to be."""
        return ~near(clean, _box(target), MATCH_IOU)

    def asked_for(self, target: Target, found: Detections) -> Tensor:
        """Select the detections of the class at the box."""
        return near(found, _box(target), MATCH_IOU) & found.are_of(target.named)

    @property
    def rendered_only(self) -> bool:
        """Whether the place is on the road, which is known of rendered scenes only."""
        return self.place == "road"

    def suits(self, scene: "SceneFacts") -> bool:
        """For `@road`: a place on the road is free."""
        return self.place != "road" or scene.road is not None


def random_box(image: CleanImage) -> Box:
    """Draw a box of 1/8 to 1/2 of the sides, away from every clean detection, by the image's seed.

    Raises `InputError` where none is found.
    """
    rng = np.random.default_rng(image.seed)
    for _ in range(RANDOM_TRIALS):
        w, h = rng.uniform(1 / 8, 1 / 2, 2) * (image.width, image.height)
        x, y = rng.uniform(0, 1, 2) * (image.width - w, image.height - h)
        box = (float(x), float(y), float(x + w), float(y + h))
        boxes = image.clean.boxes
        if not len(boxes) or float(iou_matrix(boxes, as_tensor(box, boxes)).max()) < RANDOM_IOU:
            return box
    raise InputError(f"no random box with IoU < {RANDOM_IOU} with every detection was found")


def _box(target: Target) -> Box:
    assert target.box is not None
    return target.box
