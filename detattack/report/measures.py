"""The numbers of the page that need more than a look at one record, whatever the task."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detattack.runs.record import ATTACKED, BaseRecord

CHANGE = ("linf", "l2", "rms", "psnr")
"""The measures that are averaged over all attacked images, too, whether or not the goal holds on them."""


@dataclass(frozen=True)
class Spread:
    """How a number is distributed over images: least, quartiles, largest; count: how many have it."""

    count: int
    least: float
    low: float
    middle: float
    high: float
    most: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """Measure how the finite numbers among `values` are spread; None where there are none."""
    known = sorted(v for v in values if v is not None and math.isfinite(v))
    if not known:
        return None
    low, middle, high = statistics.quantiles(known, n=4, method="inclusive") if len(known) > 1 else known * 3
    return Spread(len(known), known[0], low, middle, high, known[-1])


def reached_within(records: Sequence[BaseRecord]) -> tuple[list[float], list[float]]:
    """Return the success rate of an attacker who may go no farther than a distance (L2): distances and rates."""
    tried = sum(record.status in ATTACKED for record in records)
    distances = sorted(r.quality["l2"] or 0.0 for r in records if r.status == "success" and "l2" in r.quality)
    return distances, [(i + 1) / tried for i in range(len(distances))]
