"""Each script of `benchmarks/` can be started: it finds what it imports."""

import pytest

from tests.scripts import BENCHMARKS, benchmark_script

PLUGIN = "published_losses"
"""Registers its losses where it is imported, which `test_budget_benchmark.py` does."""


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != PLUGIN))
def test_a_benchmark_finds_what_it_imports(name):
    with benchmark_script(name) as script:
        assert callable(script.main)
