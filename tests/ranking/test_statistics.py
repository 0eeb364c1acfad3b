"""Medians with intervals, areas, and places: what is sure is apart, what is not is tied."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.ranking.statistics import TOP, Estimate, Place, area, curve, estimate, grouped, places, resamples

DISTANCES = st.lists(st.floats(0, 30) | st.just(math.inf), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(DISTANCES)
def test_the_median_lies_in_its_interval_and_is_numpys(values):
    found = estimate(values, resamples(len(values), 200, 0))
    assert found.value == np.median(values)
    assert found.low <= found.high
    assert not math.isnan(found.low)
    assert not math.isnan(found.high)


def test_the_interval_covers_the_median_as_often_as_it_says():
    """Of 200 samples of 40 from a distribution whose median is known."""
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        values = rng.lognormal(0.0, 1.0, 40)
        found = estimate(values.tolist(), resamples(40, 400, seed))
        covered += found.low <= 1.0 <= found.high
    assert 0.9 <= covered / 200 <= 0.99


@settings(max_examples=60, deadline=None)
@given(DISTANCES)
def test_the_area_is_the_integral_over_the_share_that_is_not_broken(values):
    left = np.linspace(0, TOP, 20001)
    unbroken = np.array([(np.asarray(values) > change).mean() for change in left])
    integral = float(((unbroken[1:] + unbroken[:-1]) / 2 * np.diff(left)).sum())
    assert area(np.array(values)) == pytest.approx(integral, abs=2e-3 * TOP)


@settings(max_examples=60, deadline=None)
@given(DISTANCES)
def test_a_curve_rises_to_the_share_that_is_broken_at_all(values):
    points = curve(values)
    assert points == sorted(points)
    assert (points[-1][1] if points else 0.0) == pytest.approx(np.isfinite(values).mean())


def of_models(seed, *centers, images=60, spread=0.5):
    """Medians of the same resamples of models whose changes are lognormal about some centers."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.5, images)  # an image is hard for all, or for none
    samples = resamples(images, 400, 0)
    changes = {
        f"m{number}": center * np.exp(shared + rng.normal(0, spread, images)) for number, center in enumerate(centers)
    }
    return {name: np.median(values[samples], axis=1) for name, values in changes.items()}


def test_models_far_apart_have_a_place_each():
    assert {name: str(place) for name, place in places(of_models(1, 1.0, 4.0, 16.0)).items()} == {
        "m0": "3",
        "m1": "2",
        "m2": "1",
    }


def test_the_same_model_twice_is_tied():
    one = of_models(1, 2.0)["m0"]
    assert places({"a": one, "b": one, "c": one / 9}) == {"a": Place(1, 2), "b": Place(1, 2), "c": Place(3, 3)}


def test_models_without_a_difference_are_seldom_ranked_apart():
    apart = sum(places(of_models(seed, 1.0, 1.0))["m0"] != Place(1, 2) for seed in range(100))
    assert apart <= 12  # of 100; the two tails hold 5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.lists(st.floats(0.5, 4), min_size=1, max_size=5))
def test_places_do_not_depend_on_the_order_of_models(seed, centers):
    resampled = of_models(seed, *centers)
    found = places(resampled)
    assert found == places(dict(reversed(resampled.items())))
    assert all(1 <= place.best <= place.worst <= len(centers) for place in found.values())


def test_infinite_figures_are_none_in_json():
    assert Estimate(math.inf, 1.0, math.inf).as_json() == {"value": None, "low": 1.0, "high": None}


def test_groups_list_their_images_by_name():
    assert grouped({3: ("car", "bus"), 5: ("car",)}) == {"bus": [3], "car": [3, 5]}
