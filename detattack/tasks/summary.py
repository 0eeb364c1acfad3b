"""What a run of any task amounts to: counts, success with its interval, distances and cost.

All in one pass that holds no record.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from detattack.metrics.image_quality import MEASURES
from detattack.metrics.rates import rate
from detattack.runs.record import ATTACKED, STATUSES, BaseRecord
from detattack.tasks.columns import number

COSTS = ("k", "forwards", "backwards")
SHOWN = ("l2", "linf", "psnr", "ssim")
"""The measures in a line on a run; all are in its JSON and on its page."""


class Tally:
    """Counts the records of a run one by one, and keeps numbers only."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(STATUSES, 0)
        self.on_file = 0
        self.of_successes: dict[str, list[float]] = defaultdict(list)
        self.seconds: list[float] = []

    def add(self, record: BaseRecord, **more: float | None) -> None:
        """Count an image. more: what else is averaged over the successes."""
        self.counts[record.status] += 1
        self.seconds.append(record.seconds)
        self.on_file += record.status in ATTACKED and record.file_success
        if record.status == "success":
            values = {**{name: getattr(record, name) for name in COSTS}, **record.quality, **more}
            for name, value in values.items():
                if value is not None:
                    self.of_successes[name].append(value)

    @property
    def attacked(self) -> int:
        """How many images the success rate is over."""
        return sum(self.counts[status] for status in ATTACKED)

    def as_json(self) -> dict[str, Any]:
        """Tell how many images there are by status, and the success rates, by the status and by the file."""
        success, file_success = rate(self.counts["success"], self.attacked), rate(self.on_file, self.attacked)
        return {
            "images": sum(self.counts.values()),
            **self.counts,
            "attacked": self.attacked,
            "success_rate": success["rate"],
            "success_interval": success["interval"],
            "file_success_rate": file_success["rate"],
            "file_success_interval": file_success["interval"],
        }

    def averages(self, kind: str, average: Callable[[Sequence[float]], float], names: Iterable[str]) -> dict[str, Any]:
        """Average over the successes; kind: `mean` or `median`, the prefix of the keys."""
        values = self.of_successes
        return {f"{kind}_{name}": average(values[name]) if values.get(name) else None for name in names}

    def timing(self) -> dict[str, float | None]:
        """Tell what depends on the clock."""
        return {
            "seconds": sum(self.seconds),
            "seconds_per_image": statistics.fmean(self.seconds) if self.seconds else None,
            "median_seconds": statistics.median(self.seconds) if self.seconds else None,
        }


def common_summary(records: Iterable[BaseRecord]) -> dict[str, Any]:
    """Sum up a run of any task. Means and medians are over the successes; `timing` alone depends on the clock."""
    tally = Tally()
    for record in records:
        tally.add(record)
    names = (*COSTS, *MEASURES)
    return {
        **tally.as_json(),
        **tally.averages("median", statistics.median, names),
        **tally.averages("mean", statistics.fmean, names),
        "timing": tally.timing(),
    }


def summary_lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell a run of any task in lines: a name, and what there is to say."""
    yield "images", counts_line(summary)
    if summary["attacked"]:
        yield "success", share_line(summary["success_rate"], summary["success_interval"])
        yield "by the files", share_line(summary["file_success_rate"], summary["file_success_interval"])
    yield "medians", medians_line(summary)
    if summary["median_forwards"] is not None:
        yield "cost", cost_line(summary)


def counts_line(summary: Mapping[str, Any]) -> str:
    """Say how many images there are of each status."""
    rest = "".join(f", {summary[k]} {k}" for k in ("nothing", "already", "error") if summary[k])
    return f"{summary['images']}: {summary['success']} success, {summary['failure']} failure{rest}"


def share_line(share: float, interval: Sequence[float]) -> str:
    """Write a rate and its 95% interval."""
    return f"{share:.1%} (95%: {interval[0]:.1%} to {interval[1]:.1%})"


def medians_line(summary: Mapping[str, Any], more: Sequence[tuple[str, str, str]] = ()) -> str:
    """Write medians over the successes. more: key, label and format of other ones."""
    shown = [("k", "K", ".0f"), *((n, MEASURES[n].label, MEASURES[n].format) for n in SHOWN), *more]
    found = [
        f"{label} {number(summary['median_' + key], form)}"
        for key, label, form in shown
        if summary["median_" + key] is not None
    ]
    return ", ".join(found) or "-"


def cost_line(summary: Mapping[str, Any]) -> str:
    """Write what an image took."""
    passes = f"{summary['median_forwards']:.0f} forwards, {summary['median_backwards']:.0f} backwards"
    return f"{passes}, {summary['timing']['median_seconds']:.1f} s an image"
