"""What a run of any task amounts to."""

import pytest

from detattack.runs.record import BaseRecord
from detattack.tasks.summary import common_summary, cost_line


def record(number: int, status: str, seconds: float) -> BaseRecord:
    done = status == "success"
    return BaseRecord(number, str(number), "", status, k=3 if done else -1, forwards=8, backwards=5, seconds=seconds)


def test_what_an_image_took_is_that_of_the_successes_as_the_passes_are():
    """Most images of a data set may have nothing to attack, and take next to no time."""
    untouched = [record(i, "nothing", 0.01) for i in range(5)]
    summary = common_summary([*untouched, record(5, "success", 2.0), record(6, "success", 4.0)])
    assert cost_line(summary) == "8 forwards, 5 backwards, 3.0 s an image"
    assert summary["timing"]["seconds_per_image"] == pytest.approx(6.05 / 7)
    assert common_summary(untouched)["timing"]["median_seconds"] is None
