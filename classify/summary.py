"""What a run against a classifier amounts to: accuracy, success with its interval, distances, cost."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from classify.attack_batch import ClassificationRecord
from detattack.metrics.image_quality import MEASURES, quick_measures
from detattack.metrics.rates import rate
from detattack.tasks.detection.summary import ATTACKED, STATUSES

COSTS = ("k", "forwards", "backwards")


def summarize(records: Iterable[ClassificationRecord], classes: Sequence[str]) -> dict[str, Any]:
    """The scores of a run. Means and medians are over the successes; `file_...` speaks of the 8-bit files.

    accuracy: of the clean images that have a label. file_success: of the attacked images. What depends on the clock
    is under `timing` alone.
    """
    counts = dict.fromkeys(STATUSES, 0)
    labeled = right = on_file = 0
    wins: dict[str, list[float]] = defaultdict(list)
    by_class: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    seconds = []
    for record in records:
        counts[record.status] += 1
        seconds.append(record.seconds)
        if record.label >= 0 and record.clean:
            labeled += 1
            right += record.predicted == record.label
        if record.status in ATTACKED:
            on_file += record.file_success
            of_class = by_class[classes[record.leaves]] if record.leaves >= 0 else [0, 0]
            of_class[0] += record.status == "success"
            of_class[1] += 1
        if record.status == "success":
            for name, value in _values(record).items():
                wins[name].append(value)
    attacked = sum(counts[status] for status in ATTACKED)
    success, file_success = rate(counts["success"], attacked), rate(on_file, attacked)
    names = (*COSTS, "confidence", *MEASURES, *(f"file_{name}" for name in quick_measures()))
    return {
        "images": sum(counts.values()),
        **counts,
        "attacked": attacked,
        "success_rate": success["rate"],
        "success_interval": success["interval"],
        "file_success": on_file,
        "file_success_rate": file_success["rate"],
        "file_success_interval": file_success["interval"],
        "accuracy": rate(right, labeled),
        "classes": {name: rate(*pair) for name, pair in sorted(by_class.items())},
        **{f"mean_{name}": statistics.fmean(wins[name]) if wins[name] else None for name in names},
        **{f"median_{name}": statistics.median(wins[name]) if wins[name] else None for name in names},
        "timing": {
            "seconds": sum(seconds),
            "seconds_per_image": statistics.fmean(seconds) if seconds else None,
            "median_seconds": statistics.median(seconds) if seconds else None,
        },
    }


def _values(record: ClassificationRecord) -> dict[str, float]:
    """The numbers of one success that are averaged; what is not known of it is left out."""
    values = {**{name: getattr(record, name) for name in COSTS}, "confidence": record.confidence_after}
    values |= record.quality | {f"file_{name}": value for name, value in record.file_quality.items()}
    return {name: float(value) for name, value in values.items() if value is not None}
