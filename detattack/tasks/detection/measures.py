"""What a detector's run did to each class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from detattack.core.boxes import iou_matrix
from detattack.core.types import Detections
from detattack.tasks.detection.matching import MATCH_IOU
from detattack.tasks.detection.record import DetectionRecord, from_lists


@dataclass
class ClassRow:
    """What happened to one class above τ.

    - images, successes: attacked ones whose clean detections include it, and those of them that succeeded.
    - before, after: detections, clean and adversarial.
    - kept: clean ones that a detection of the class on the adversarial image still matches (IoU ≥ 0.5).
    """

    name: str = ""
    images: int = 0
    successes: int = 0
    before: int = 0
    after: int = 0
    kept: int = 0


class ClassTally:
    """The rows of all classes, added up record by record. labels: all that were seen, at any score."""

    def __init__(self, tau: float) -> None:
        self.labels: set[int] = set()
        self._tau = tau
        self._rows: dict[int, ClassRow] = {}

    def add(self, record: DetectionRecord) -> None:
        """Count a record's detections."""
        for found in (record.clean, record.adversarial):
            self.labels.update(found.get("labels", ()))
        if not record.quality:
            return
        clean, after = (from_lists(found).above(self._tau) for found in (record.clean, record.adversarial))
        counts = Counter(clean.labels.tolist())
        for label in {*counts, *after.labels.tolist()}:
            row = self._rows.setdefault(label, ClassRow())
            row.images += label in counts
            row.successes += label in counts and record.status == "success"
            row.before += counts[label]
            row.after += int((after.labels == label).sum())
            row.kept += _kept(clean.of(label), after.of(label))

    def rows(self, names: Sequence[str]) -> list[ClassRow]:
        """Return a row for each class seen above τ on an attacked image, the most frequent first.

        names: of the labels.
        """
        rows = (replace(row, name=names[label]) for label, row in self._rows.items())
        return sorted(rows, key=lambda row: (-row.before, -row.after, row.name))


def _kept(clean: Detections, after: Detections) -> int:
    if not len(clean) or not len(after):
        return 0
    return int((iou_matrix(clean.boxes, after.boxes).amax(1) >= MATCH_IOU).sum())
