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
    monkeypatch.setattr(processes, "STARTED_IN_S", 0.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing is killed so here")
def test_a_process_that_is_killed_is_an_error_of_the_machine_in_one_line():
    """As the system kills one for its memory."""
    with pytest.raises(OSError, match="one of 2 processes was killed, perhaps for lack of memory"):
        list(processes.parallel_map(killed_at_three, range(8)))


@pytest.mark.parametrize(
    ("seconds", "alone"),
    [
        ([30, 1, 1, 1, 1, 1], 6),  # the first imports what is needed
        ([9, 9, 9], 3),  # one that is left is done here
        ([5, 5, 5, 5], 4),  # two that are left: 5 s saved
        ([9, 9, 9, 9], 2),
        ([1] * 18, 18),
        ([1] * 19, 2),
        ([1, 0, 9, 9, 9, 9], 6),
        ([1, 0, 12, 9, 9, 9], 3),
    ],
)
def test_processes_are_started_where_they_save_more_than_their_start(monkeypatch, seconds, alone):
    clock, here = [0.0], []

    def work(item: int) -> int:
        here.append(item)
        clock[0] += seconds[item]
        return item

    monkeypatch.setattr(processes, "STARTED_IN_S", 8.0)
    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(processes, "_by_processes", lambda work, items, workers: iter(items))
    assert list(processes.parallel_map(work, range(len(seconds)))) == list(range(len(seconds)))
    assert here == list(range(alone))


def test_all_is_done_in_order():
    assert list(processes.parallel_map(abs, range(-8, 0))) == list(range(8, 0, -1))
