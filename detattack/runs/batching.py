"""Which images are attacked together, and the thread that reads them ahead of time.

That is decided over the whole data set before a shard or a resumed run takes its part, so that every way of running
it gives the same bytes.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from detattack.core.errors import InputError
from detattack.datasets.base import Sample

Batch = tuple[Sample, ...]
In = TypeVar("In")
Out = TypeVar("Out")

AHEAD = 2
"""Batches that are read before their turn."""
REFILLS = 4
"""Times that `--batch` images are done and committed as one: the places of images that are done are filled from the
rest, and the fewer ends of a batch there are, the fewer places stay empty."""
FEWEST = 8
"""So many parts a data set is left in, if it is large enough, for shards and workers to share."""


def plan(samples: Sequence[Sample], size: int) -> list[Batch]:
    """Plan what is done and committed as one, in the order of the first images.

    It is images of one size, of which the engine attacks `size` at a time and replaces each as it is done. In a large
    data set that is more than `size` images.
    """
    if size == 1:
        return [(sample,) for sample in samples]
    most = size * min(max(len(samples) // (FEWEST * size), 1), REFILLS)
    open_batches: dict[tuple[int, int], list[Sample]] = {}
    batches: list[list[Sample]] = []
    for sample in samples:
        batch = open_batches.get(sample.size)
        if batch is None or len(batch) == most:
            batch = open_batches[sample.size] = []
            batches.append(batch)
        batch.append(sample)
    return [tuple(batch) for batch in batches]


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 0 ≤ i < n. Raises `InputError`."""
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise InputError(f"shard {text!r}: not of the form i/n, e.g. 0/4") from None
    if not 0 <= index < count:
        raise InputError(f"shard {text!r}: from 0/{max(count, 1)} to {max(count, 1) - 1}/{max(count, 1)}")
    return index, count


def part(batches: Sequence[Batch], shard: tuple[int, int] | None) -> list[Batch]:
    """Return the batches of one shard; None: all."""
    return list(batches) if shard is None else list(batches[shard[0] :: shard[1]])


def read_ahead(items: Iterable[In], read: Callable[[In], Out], ahead: int = AHEAD) -> Iterator[Out]:
    """`read(item)` for each item in order, by one thread that is at most `ahead` items in front.

    What `read` raises is raised here, in its turn. Leaving the loop early stops the thread.
    """
    ready: queue.Queue[tuple[Out | None, BaseException | None] | None] = queue.Queue(ahead)
    stopped = threading.Event()

    def put(what: tuple[Out | None, BaseException | None] | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(what, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((read(item), None)):
                    return
            put(None)
        except BaseException as error:  # it belongs to whoever asked for the item
            put((None, error))

    thread = threading.Thread(target=work, name="detattack-reader", daemon=True)
    thread.start()
    try:
        while (got := ready.get()) is not None:
            result, error = got
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
