"""An own goal: at most N detections of a class are left, `atmost:CLASS:N`."""

from dataclasses import dataclass
from typing import ClassVar

from detattack.core.errors import InputError
from detattack.tasks.detection.goals import Goal, register_goal


@register_goal
@dataclass(frozen=True)
class AtMost(Goal):
    kind: ClassVar[str] = "atmost"
    form: ClassVar[str] = "atmost:CLASS:N"
    losses: ClassVar[tuple[str, ...]] = ("vanish",)
    category: str
    count: int

    @classmethod
    def parse(cls, text):
        category, _, count = text.rpartition(":")
        if not category or not count.isdecimal():
            raise InputError("not of the form atmost:CLASS:N")
        return cls(category, int(count))

    def __str__(self):
        return f"{self.kind}:{self.category}:{self.count}"

    def classes(self):
        return (self.category,)

    def holds(self, target, found):
        return len(found.of(target.named)) <= self.count
