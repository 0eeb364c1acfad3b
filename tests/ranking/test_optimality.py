"""The benchmark of optimality: AttackBench's formula on distances worked out by hand."""

import importlib.util
import math
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "optimality.py"


@pytest.fixture(scope="module")
def optimality():
    spec = importlib.util.spec_from_file_location("optimality", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.optimality


def test_the_envelope_itself_is_optimal(optimality):
    assert optimality([0, 1, 2, 4], [0, 1, 2, 4]) == 1.0


def test_by_hand(optimality):
    # Areas (0+1+2+4)/4 = 1.75 and (0+2+2+4)/4 = 2, of at most 3/4 · 4 = 3.
    assert optimality([0, 2, 2, 4], [0, 1, 2, 4]) == pytest.approx(1 - 0.25 / 1.25)


def test_what_is_not_broken_counts_as_the_largest_distance(optimality):
    assert optimality([1, math.inf], [1, 3]) == 1.0
    assert optimality([math.inf, math.inf], [1, 3]) == 0.0
