"""The count of the suite's full form."""

import os

from tests.hostile.limits import COUNTS, SECONDS


def pytest_terminal_summary(terminalreporter) -> None:
    """What became of the inputs."""
    if {"DETATTACK_BAD_INPUTS", "DETATTACK_BAD_COMMANDS"} & {*os.environ}:
        for line, count in sorted(COUNTS.items()):
            terminalreporter.write_line(f"{line}: {count}")
        terminalreporter.write_line(f"{sum(COUNTS.values())} bad inputs, none of them longer than {SECONDS} s")
