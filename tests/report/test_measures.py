"""Spreads, and the success rate within a distance."""

import math

from detattack.report.measures import Spread, reached_within, spread
from detattack.tasks.detection.record import DetectionRecord


def test_a_spread_is_of_finite_numbers_alone():
    assert spread([3, None, 1, math.inf, 2, 5, 4, math.nan]) == Spread(5, 1, 2, 3, 4, 5)
    assert spread([7]) == Spread(1, 7, 7, 7, 7, 7)
    assert spread([None, math.nan]) is None


def test_success_within_a_distance_is_of_all_that_were_attacked():
    def record(status: str, **quality: float) -> DetectionRecord:
        return DetectionRecord(1, "a", "a", status, quality=quality)

    records = [record("success", l2=2.0), record("success", l2=1.0), record("failure", l2=9.0), record("error")]
    assert reached_within([*records, record("nothing"), record("already")]) == ([1.0, 2.0], [0.25, 0.5])
    assert reached_within([record("nothing")]) == ([], [])
