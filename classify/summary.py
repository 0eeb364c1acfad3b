"""What a run against a classifier amounts to: accuracy, success with its interval, distances, cost."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from classify.record import ClassificationRecord
from detattack.core.wording import counted, worded
from detattack.metrics.image_quality import MEASURES, quick_measures
from detattack.metrics.rates import rate
from detattack.runs.record import ATTACKED
from detattack.tasks.columns import Column, measure_columns
from detattack.tasks.summary import COSTS, Tally

COLUMNS = (
    Column("method", "method"),
    Column("success_rate", "success", ".1%"),
    Column("file_success_rate", "still fools after saving", ".1%"),
    Column("attacked", "attacked", "d"),
    Column("mean_k", "K", ".1f"),
    *measure_columns("mean", "l1", "l2"),
    Column("median_l2", f"median {MEASURES['l2'].label}", MEASURES["l2"].format),
    *measure_columns("mean", "linf", "psnr", "ssim", "uqi", "scc", "vifp"),
    Column("mean_forwards", "forwards", ".1f"),
    Column("mean_backwards", "backwards", ".1f"),
    Column("seconds_per_image", "s/image", ".3f"),
)
"""Of a table of methods: means over the successes, as the paper has them."""


def summarize(records: Iterable[ClassificationRecord], classes: Sequence[str]) -> dict[str, Any]:
    """Sum up a run. Means and medians are over the successes; `file_...` speaks of the 8-bit files.

    - accuracy: of the clean images that have a label
    - accuracy_attacked: of the same images after the attack
    - file_success: of the attacked images

    What depends on the clock is under `timing` alone.
    """
    tally, labeled, right, still_right = Tally(), 0, 0, 0
    by_class: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        on_file = {f"file_{name}": value for name, value in record.file_quality.items()}
        tally.add(record, confidence=record.confidence_after, **on_file)
        if record.label >= 0 and record.clean:
            labeled += 1
            right += record.predicted == record.label
            still_right += record.predicted_attacked == record.label
        if record.status in ATTACKED and record.leaves >= 0:
            of_class = by_class[classes[record.leaves]]
            of_class[0] += record.status == "success"
            of_class[1] += 1
    names = (*COSTS, "confidence", *MEASURES, *(f"file_{name}" for name in quick_measures()))
    return {
        **tally.as_json(),
        "file_success": tally.on_file,
        "accuracy": rate(right, labeled),
        "accuracy_attacked": rate(still_right, labeled),
        **tally.over_attacked(),
        "classes": {name: rate(*pair) for name, pair in sorted(by_class.items())},
        **tally.averages("mean", statistics.fmean, names),
        **tally.averages("median", statistics.median, names),
        "timing": tally.timing(),
    }


def skipped_line(summary: Mapping[str, Any], targeted: bool) -> str:
    """Say in a line how many images no method attacks, and why; empty where all are attacked."""
    count = summary["already"]
    if not count:
        return ""
    skipped = f"{counted(count, 'image')} skipped"
    if targeted:
        return f"{skipped}: {worded(count, 'is', 'are')} of the target class, or taken for it untouched"
    return f"{skipped}: the model is wrong on {worded(count, 'it', 'them')} untouched (--only-right takes others)"
