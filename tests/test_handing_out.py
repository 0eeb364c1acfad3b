"""Batches handed to workers that die: each image comes back once, in the order of the plan, whatever happens."""

import random
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detattack.datasets.base import Picture, Sample
from detattack.runs.batching import Batch
from detattack.runs.record import Outcome
from detattack.runs.scheduler import MOST_DEATHS, HandingOut, Part
from detattack.tasks.detection.record import DetectionRecord

AHEAD = 3
LOAD = partial(Picture, np.zeros((1, 1, 3), np.uint8))


def batches_of(sizes: list[int]) -> list[Batch]:
    samples = iter([Sample(i, str(i), "", (0, 0), LOAD) for i in range(sum(sizes))])
    return [tuple(next(samples) for _ in range(size)) for size in sizes]


def outcomes_of(part: Part, status: str = "success") -> list[Outcome[DetectionRecord]]:
    return [Outcome(DetectionRecord(sample.id, sample.stem, "", status)) for sample in part.samples]


def ids(batches: list[list[Outcome[DetectionRecord]]]) -> list[int]:
    return [outcome.record.id for batch in batches for outcome in batch]


class Shift:
    """Workers that die of some images, and now and then of nothing; what they did is written down."""

    def __init__(self, batches: list[Batch], deadly: set[int], worse: set[int]):
        self.books = HandingOut[DetectionRecord](batches, AHEAD)
        self.deadly, self.worse = deadly, worse
        self.given: list[Part] = []
        self.back: list[list[Outcome[DetectionRecord]]] = []
        self.deaths: Counter[int] = Counter()

    def run(self, rng: random.Random, accidents: int) -> None:
        """Until all is done. accidents: deaths that no image is to blame for, at most."""
        under_way: list[Part] = []
        while not self.books.over:
            while len(under_way) < 2 and (part := self.books.hand_out()):
                self.given.append(part)
                under_way.append(part)
            part = under_way.pop(rng.randrange(len(under_way)))
            dies = self.kills(part) or (accidents > 0 and rng.random() < 0.25)
            if dies:
                accidents -= not self.kills(part)
                self.deaths.update(sample.id for sample in part.samples if len(part.samples) == 1)
                self.books.bury(part, outcomes_of(part, "error")[0])
            elif rng.random() < 0.1:
                self.books.lose(part)
            else:
                self.books.finish(part, outcomes_of(part, "error" if part.hopeless else "success"))
            self.back += self.books.take_back()

    def kills(self, part: Part) -> bool:
        return bool({sample.id for sample in part.samples} & (self.worse if part.hopeless else self.deadly))


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    accidents=st.integers(0, MOST_DEATHS - 1),
    rng=st.integers(0, 2**32).map(random.Random),
)
def test_each_image_comes_back_once_in_order_and_only_the_deadly_ones_as_errors(sizes, accidents, rng):
    deadly = {i for i in range(sum(sizes)) if rng.random() < 0.2}
    worse = {i for i in deadly if rng.random() < 0.5}
    shift = Shift(batches_of(sizes), deadly, worse)
    shift.run(rng, accidents)
    assert ids(shift.back) == list(range(sum(sizes)))
    assert [len(batch) for batch in shift.back] == sizes
    failed = {o.record.id for batch in shift.back for o in batch if o.record.status == "error"}
    assert failed == deadly
    assert all(shift.deaths[i] >= MOST_DEATHS for i in deadly)


def test_a_batch_is_done_again_as_it_was_before_it_is_parted():
    (batch,) = batches_of([3])
    books = HandingOut[DetectionRecord]([batch], AHEAD)
    for deaths in range(MOST_DEATHS):
        part = books.hand_out()
        assert (part.samples, part.deaths) == (batch, deaths)
        books.bury(part, outcomes_of(part)[0])
    parts = [books.hand_out() for _ in batch]
    assert [part.samples for part in parts] == [(sample,) for sample in batch]
    assert {part.deaths for part in parts} == {0}


def test_what_was_lost_goes_first_and_the_first_of_it_before_the_others():
    books = HandingOut[DetectionRecord](batches_of([1] * 5), AHEAD)
    parts = [books.hand_out() for _ in range(3)]
    books.lose(parts[2])
    books.lose(parts[0])
    assert [books.hand_out().number for _ in range(2)] == [0, 2]


@pytest.mark.parametrize("last", range(AHEAD))
def test_finished_batches_wait_for_earlier_ones_and_are_not_more_than_allowed(last):
    books = HandingOut[DetectionRecord](batches_of([1] * 9), AHEAD)
    parts = [books.hand_out() for _ in range(AHEAD)]
    assert books.hand_out() is None
    for part in parts[:last] + parts[last + 1 :]:
        books.finish(part, outcomes_of(part))
    assert ids(list(books.take_back())) == list(range(last))
    assert sum(books.hand_out() is not None for _ in range(9)) == last
    books.finish(parts[last], outcomes_of(parts[last]))
    assert ids(list(books.take_back())) == list(range(last, AHEAD))
