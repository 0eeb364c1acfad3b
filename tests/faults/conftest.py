"""Programs that come to grief; see `faulty`."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import Program

HERE = Path(__file__).parent


@pytest.fixture
def program(tmp_path) -> Iterator[Callable[..., Program]]:
    """Starts a command in an empty folder: `program("report {out}", after="file")`; more arguments are added as they
    are."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent.parent), "OMP_NUM_THREADS": "1"}
    processes = []

    def start(command: str, *arguments: object, after: str = "row") -> Program:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        line = [sys.executable, str(HERE / "driver.py")]
        processes.append(subprocess.Popen(line, cwd=tmp_path, env=environment, text=True, **pipes))
        return Program(processes[-1], tmp_path, [*command.split(), *map(str, arguments)], after)

    yield start
    for process in processes:
        process.kill()
        process.communicate()
