"""Whether our numbers put the methods in the paper's order."""

import itertools
import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from classify.paper.config import Published

Values = Mapping[int, Mapping[str, float]]
"""Of a method: its measures by image id; `success` is 0 or 1."""


@dataclass(frozen=True)
class Agreement:
    """How far two orders of methods agree.

    - pairs: how many pairs of methods the paper puts in an order, and we have numbers for
    - differing: those of them that are the other way round with us, or the same, each as (higher, lower) in the paper
    - ties: how many are the same
    """

    pairs: int
    differing: tuple[tuple[str, str], ...] = ()
    ties: int = 0

    @property
    def tau(self) -> float | None:
        """Kendall's τ over the pairs that the paper orders: 1 the same order, −1 the reverse; None without a pair."""
        return (self.pairs - 2 * len(self.differing) + self.ties) / self.pairs if self.pairs else None


@dataclass(frozen=True)
class Order:
    """The order by each measure, over the images on which all the paper's methods succeed."""

    images: int
    by_metric: Mapping[str, Agreement]


def agreement(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Agreement:
    """Compare the order of the methods that both have a number for."""
    known = [name for name in theirs if name in ours]
    gaps = {}
    for one, other in itertools.combinations(known, 2):
        if theirs[one] != theirs[other]:
            high, low = (one, other) if theirs[one] > theirs[other] else (other, one)
            gaps[high, low] = ours[high] - ours[low]
    differing = tuple(pair for pair, gap in gaps.items() if gap <= 0)
    return Agreement(len(gaps), differing, sum(gap == 0 for gap in gaps.values()))


def order(methods: Mapping[str, Values], paper: Published) -> Order:
    """Compare the order of the methods that the paper has, so that none is praised for failing on what is hard."""
    named = {name for stated in paper.values() for name in stated}
    known = {name: values for name, values in methods.items() if name in named}
    wins = [{i for i, one in values.items() if one["success"]} for values in known.values()]
    shared = set.intersection(*wins) if wins else set()
    return Order(len(shared), {metric: agreement(_means(known, metric, shared), paper[metric]) for metric in paper})


def _means(methods: Mapping[str, Values], metric: str, shared: Collection[int]) -> dict[str, float]:
    """Over the images for which every method has the measure."""
    ids = [i for i in shared if all(metric in values[i] for values in methods.values())]
    return {name: statistics.fmean(values[i][metric] for i in ids) for name, values in methods.items() if ids}
