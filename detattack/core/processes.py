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

WORTH_A_PROCESS_S = 4.0
"""Below this many seconds a process pool does not pay off: starting processes, which import torch, takes as long."""
MOST_PROCESSES = 16

In = TypeVar("In")
Out = TypeVar("Out")


def parallel_map(work: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
    """Yield `work(item)` for each item, in order; in several processes once it takes long, so everything has to pickle.

    Raises what `work` raises, and OSError if a process is killed, for instance for lack of memory. Leaving the loop
    early stops the processes.
    """
    start = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - start >= WORTH_A_PROCESS_S and len(items) - done >= max(done, 2) and _cores() > 1:
            yield from _by_processes(work, items[done:])
            return
        yield work(item)


def _by_processes(work: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
    workers = min(_cores(), MOST_PROCESSES, len(items))
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
