"""Rates and means with their intervals."""

import math

import pytest

from detattack.metrics.rates import mean_interval, rate, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0, 0.2775328), (10, 10, 0.7224672, 1), (1, 1, 0.2065493, 1)],
)
def test_wilson_against_published_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_wilson_without_a_trial():
    assert wilson_interval(0, 0) is None


def test_a_mean_and_its_interval():
    one = mean_interval([1.0, 2.0, 3.0])
    half = 1.959964 / math.sqrt(3)
    assert one["mean"] == 2
    assert one["interval"] == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert mean_interval([]) == {"mean": None, "interval": None}
    assert mean_interval([5.0]) == {"mean": 5.0, "interval": None}


def test_the_interval_of_a_mean_of_shares_holds_shares():
    assert mean_interval([1.0, 1.0, 0.5], 0.0, 1.0)["interval"] == (pytest.approx(0.5067, abs=1e-4), 1.0)
    assert mean_interval([0.0, 0.0, 0.5], 0.0, 1.0)["interval"] == (0.0, pytest.approx(0.4933, abs=1e-4))


def test_a_rate_as_json():
    assert rate(8, 10) == {"successes": 8, "trials": 10, "rate": 0.8, "interval": wilson_interval(8, 10)}
    assert rate(0, 0) == {"successes": 0, "trials": 0, "rate": None, "interval": None}
