"""All measures of quality of a finished run, from its files: the slow ones take about a second an image, so they
are kept out of the attack and spread over the processor's cores."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from detattack.datasets import Dataset, Sample
from detattack.errors import InputError
from detattack.images import read_image
from detattack.quality import measure
from detattack.records import BaseRecord
from detattack.runs import BaseRunFolder

WORTH_A_PROCESS = 12
"""Images below which starting another process takes longer than it saves."""
MOST_PROCESSES = 16

Measures = dict[str, float | None]


def measure_all(folder: BaseRunFolder[Any], dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> None:
    """Measures what is not measured yet, and commits it image by image: can be interrupted and resumed.

    An original that can no longer be read is left with what the attack measured.
    """
    samples = {sample.id: sample for sample in dataset.samples}
    todo = [(samples[r.id], r) for r in folder.unmeasured() if r.id in samples]
    for number, (image_id, measures) in enumerate(_measured(folder.path, todo), 1):
        if measures is not None:
            folder.add_quality(image_id, measures)
        if progress:
            progress(number, len(todo))


def _measured(path: Path, todo: list[tuple[Sample, BaseRecord]]) -> Iterator[tuple[int, Measures | None]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, MOST_PROCESSES, len(todo) // WORTH_A_PROCESS)
    if workers < 2:
        yield from map(partial(_measure_one, path), todo)
        return
    # "spawn": a forked copy of a process with threads and an accelerator may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        try:
            yield from pool.map(partial(_measure_one, path), todo, chunksize=4)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    """Ctrl-C is for the parent, which stops its workers; where the parent is killed, they must not stay behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measure_one(path: Path, item: tuple[Sample, BaseRecord]) -> tuple[int, Measures | None]:
    sample, record = item
    try:
        original = sample.load().pixels
        adversarial: Any = path / "floats" / f"{record.stem}.npy"
        if adversarial.is_file():
            seen = np.load(adversarial, allow_pickle=False).transpose(1, 2, 0)
        else:
            seen = read_image(path / "images" / f"{record.stem}.png").pixels
        return record.id, measure(original, seen).as_json()
    except (InputError, OSError, ValueError):
        return record.id, None
