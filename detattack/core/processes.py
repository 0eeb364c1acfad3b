"""Distribute CPU-bound work over the processor's cores, for work that takes long and needs no accelerator."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from detattack.core.plugins import load_plugins
from detattack.core.wording import counted

STARTED_IN_S = 8.0
"""How long processes take to start, of which each imports torch: they have to save more than that."""
MOST_PROCESSES = 16

In = TypeVar("In")
Out = TypeVar("Out")


def parallel_map(work: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
    """Yield `work(item)` for each item, in order; in several processes once it takes long, so everything has to pickle.

    Raises what `work` raises, and OSError if a process is killed, for instance for lack of memory. Leaving the loop
    early stops the processes.
    """
    took = 0.0
    for done, item in enumerate(items):
        left = len(items) - done
        workers = min(_cores(), MOST_PROCESSES, left)
        if done > 1 and took / (done - 1) * (left - left / workers) > STARTED_IN_S:
            yield from _by_processes(work, items[done:], workers)
            return
        start = time.monotonic()
        result = work(item)
        if done:  # the first also imports what the work needs
            took += time.monotonic() - start
        yield result


def _by_processes(work: Callable[[In], Out], items: Sequence[In], workers: int) -> Iterator[Out]:
    # "spawn": a forked copy of a process with threads and an accelerator may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        try:
            yield from pool.map(work, items, chunksize=4)
        except BrokenProcessPool as error:
            raise OSError(f"one of {counted(workers, 'process')} was killed, perhaps for lack of memory") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """Prepare a worker process.

    Ctrl-C is for the parent, which stops its workers; if the parent is killed, workers end too. They load the same
    plugins.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load_plugins()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
