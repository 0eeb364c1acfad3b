"""Work spread over processes, of which one is killed."""

import os
import signal
import time

import pytest

from detattack.core import processes


def killed_at_three(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return item


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Processes from the first item on."""
    monkeypatch.setattr(processes, "WORTH_A_PROCESS_S", 0.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing is killed so here")
def test_a_process_that_is_killed_is_an_error_of_the_machine_in_one_line():
    """As the system kills one for its memory."""
    with pytest.raises(OSError, match="one of 2 processes was killed, perhaps for lack of memory"):
        list(processes.parallel_map(killed_at_three, range(8)))


def test_all_is_done_in_order():
    assert list(processes.parallel_map(abs, range(-8, 0))) == list(range(8, 0, -1))
