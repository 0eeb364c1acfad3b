"""`flood:N`: at least N detections of what is not there."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from detattack.core.boxes import iou_matrix
from detattack.core.errors import InputError
from detattack.core.types import Detections, short_of_wrong
from detattack.core.wording import counted
from detattack.tasks.detection.candidates import ROUNDING, ImageCandidates
from detattack.tasks.detection.goals.base import CleanImage, Goal, Target, register_goal
from detattack.tasks.detection.matching import MATCH_IOU

MOST_FALSE = 10_000


@register_goal
@dataclass(frozen=True)
class Flood(Goal):
    """At least so many false detections: of no reference object's class and place. They overload what comes behind.

    A detection is false where no object of its class has IoU ≥ .5 with it.
    """

    kind: ClassVar[str] = "flood"
    form: ClassVar[str] = "flood:N"
    losses: ClassVar[tuple[str, ...]] = ("fabricate",)
    rises: ClassVar[bool] = True
    of_objects: ClassVar[bool] = True

    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`N`, a whole number from 1 on."""
        count = int(text) if text.isascii() and text.isdigit() else 0
        if not 1 <= count <= MOST_FALSE:
            raise InputError(f"flood takes a number of false detections from 1 to {MOST_FALSE}")
        return cls(count)

    def __str__(self) -> str:
        return f"{self.kind}:{self.count}"

    def reference(self, target: Target, image: CleanImage) -> Detections:
        """Select all reference objects."""
        return image.objects

    def already(self, score: float | None = None) -> str:
        """Say that there are as many untouched."""
        return f"{counted(self.count, 'false detection')} or more are there untouched"

    def holds(self, target: Target, found: Detections) -> bool:
        """Tell whether there are so many false detections."""
        return int(self.asked_for(target, found).sum()) >= self.count

    def confidence(self, target: Target, found: Detections) -> float:
        """Return the score of the N-th false detection; 0 where there are fewer."""
        scores = found.scores[self.asked_for(target, found)].sort(descending=True).values
        return float(scores[self.count - 1]) if len(scores) >= self.count else 0.0

    def margin(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Return the N-th largest logit relative to τ, of any class."""
        best = seen.relative.amax(1)
        return best.topk(min(self.count, len(best))).values[-1]

    def possible(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Tell whether so many scores are above τ at all."""
        return (seen.relative >= -ROUNDING).sum() >= self.count

    def harm(self, target: Target, found: Detections) -> float:
        """Sum the scores of the false detections."""
        return float(short_of_wrong(found.scores[self.asked_for(target, found)].sum().cpu().double()))

    def aimed_at(self, target: Target, clean: Detections) -> Tensor:
        """None: what is there may stay."""
        return torch.zeros_like(clean.labels, dtype=torch.bool)

    def asked_for(self, target: Target, found: Detections) -> Tensor:
        """Select the false detections."""
        boxes, named = target.places
        objects = torch.tensor(boxes, device=found.boxes.device).reshape(-1, 4)
        labels = torch.tensor(named, device=found.labels.device)
        there = iou_matrix(found.boxes, objects) >= MATCH_IOU
        return ~(there & (found.labels[:, None] == labels[None])).any(1)
