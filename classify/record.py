"""What is known of one image attacked against a classifier: a row of the ledger."""

from dataclasses import dataclass, field
from typing import ClassVar

from classify.types import ClassGoal
from detattack.runs.record import BaseRecord, Found


@dataclass(frozen=True, repr=False)
class ClassificationRecord(BaseRecord):
    """What is known of one attacked image in the end; a row of the ledger.

    label: what the image shows, −1 where nobody said. leaves: the class to leave: the label, or the prediction where
    there is none. wrong: the class to go to. clean, adversarial: the likeliest classes, `labels` and `scores`, the
    latter of what `status` speaks of. file_label: the prediction for the 8-bit file. file_quality: measures of the
    8-bit file, where `status` speaks of floats.
    """

    task: ClassVar[str] = "classify"
    long: ClassVar[tuple[str, ...]] = ("trace",)

    label: int = -1
    leaves: int = -1
    wrong: int = -1
    targeted: bool = False
    clean: Found = field(default_factory=dict)
    adversarial: Found = field(default_factory=dict)
    file_label: int = -1
    file_quality: dict[str, float | None] = field(default_factory=dict)

    @property
    def goal(self) -> ClassGoal:
        """What the image is judged by."""
        return ClassGoal(self.leaves, self.wrong, self.targeted)

    @property
    def predicted(self) -> int:
        """The class of the clean image; −1 where it is unknown."""
        return self.clean["labels"][0] if self.clean else -1

    @property
    def predicted_attacked(self) -> int:
        """The class of what `status` speaks of, which for an image that was not attacked is the clean one."""
        return self.adversarial["labels"][0] if self.adversarial else self.predicted
