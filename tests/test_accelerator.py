"""What `accelerator_checks.py` tells of a device that is not the CPU, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_accelerator import is_available

CHECKS = Path(__file__).with_name("accelerator_checks.py")


@pytest.mark.slow
@pytest.mark.skipif(not is_available(), reason="this torch does not let Python be a backend")
def test_on_a_device_that_is_not_the_cpu():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CHECKS)]
    done = subprocess.run(command, cwd=CHECKS.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " skipped" not in done.stdout.splitlines()[-1]
