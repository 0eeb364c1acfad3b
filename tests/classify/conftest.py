"""Run folders made by hand, as the tests of reports have them."""

from tests.report.conftest import classified_run, run

__all__ = ["classified_run", "run"]
