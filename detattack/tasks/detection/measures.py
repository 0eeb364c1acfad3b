"""The numbers of a detector's page that need more than a look at one record: classes, and what τ decides."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from detattack.core.boxes import iou_matrix
from detattack.core.types import Detections
from detattack.tasks.detection.matching import MATCH_IOU
from detattack.tasks.detection.record import from_lists
from detattack.tasks.detection.run_data import DetectionData


@dataclass
class ClassRow:
    """What happened to one class above τ.

    images: attacked ones whose clean detections include it; successes: of those. before, after: detections;
    kept: clean ones that a detection of the class on the adversarial image still matches (IoU ≥ 0.5).
    """

    name: str
    images: int = 0
    successes: int = 0
    before: int = 0
    after: int = 0
    kept: int = 0


def by_class(run: DetectionData) -> list[ClassRow]:
    """A row for each class seen above τ on an attacked image, the most frequent first."""
    rows: dict[int, ClassRow] = {}
    for record in run.records:
        if not record.quality:
            continue
        clean, after = (from_lists(found).above(run.tau) for found in (record.clean, record.adversarial))
        counts = Counter(clean.labels.tolist())
        for label in {*counts, *after.labels.tolist()}:
            row = rows.setdefault(label, ClassRow(run.names[label]))
            row.images += label in counts
            row.successes += label in counts and record.status == "success"
            row.before += counts[label]
            row.after += int((after.labels == label).sum())
            row.kept += _kept(clean.of(label), after.of(label))
    return sorted(rows.values(), key=lambda row: (-row.before, -row.after, row.name))


def _kept(clean: Detections, after: Detections) -> int:
    if not len(clean) or not len(after):
        return 0
    return int((iou_matrix(clean.boxes, after.boxes).amax(1) >= MATCH_IOU).sum())


def reached_at(run: DetectionData, taus: Sequence[float], most: int) -> tuple[list[float], list[float]] | None:
    """Share of the attacked images for which the goal holds at each τ: untouched, and on the saved file.

    Of more than `most` images, that many evenly chosen ones are judged. None where no image was attacked, or the
    goal's class has no name here.
    """
    attacked = [record for record in run.records if record.quality]
    judged = [(run.target(record), record) for record in attacked[:: max(1, -(-len(attacked) // most))]]
    if not judged or any(target is None for target, _ in judged):
        return None
    shares = []
    for which in ("clean", "adversarial"):
        found = [(target, from_lists(getattr(record, which))) for target, record in judged if target]
        shares.append([sum(t.holds(f.above(tau)) for t, f in found) / len(found) for tau in taus])
    return shares[0], shares[1]
