"""Programs that come to grief; see `faulty`."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.faults.faulty import KILLED, Program

HERE = Path(__file__).parent


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in the driver: it forks, and a pool of threads, which `rerun` would ask for, does not come along."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def driver() -> Iterator[subprocess.Popen]:
    """The process that runs the programs; see `driver`."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent.parent), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, str(HERE / "driver.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(line, env=environment, text=True, **pipes) as process:
        yield process
        process.kill()


@pytest.fixture
def program(driver, tmp_path) -> Callable[..., Program]:
    """Starts a command in an empty folder: `program("report {out}", after="file")`; more arguments are added as they
    are. source: the folder that the command finds as `run` in its own."""

    def start(command: str, *arguments: object, after: str = "row", source: str | None = None) -> Program:
        return Program(driver, tmp_path, [*command.split(), *map(str, arguments)], after, source)

    return start


def pytest_terminal_summary(terminalreporter) -> None:
    """The count of the full form."""
    if "DETATTACK_KILLS" in os.environ:
        for line, count in sorted(KILLED.items()):
            terminalreporter.write_line(f"{line}: {count}")
        terminalreporter.write_line(f"{sum(KILLED.values())} kills with the same bytes after resume")
