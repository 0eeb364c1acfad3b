"""Which images are attacked together, decided over the whole data set before a shard or a resumed run takes its
part, so that every way of running it gives the same bytes; and the thread that reads them ahead of time.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from detattack.config import RunConfig
from detattack.datasets import Sample
from detattack.detectors.base import Detector
from detattack.errors import InputError
from detattack.faults import check_device, out_of_memory
from detattack.goals import check_goal, parse_goal
from detattack.objectives import DetectionObjective
from detattack.optimize import FastDetector
from detattack.precision import fixed_numerics
from detattack.types import Detections

Batch = tuple[Sample, ...]
In = TypeVar("In")
Out = TypeVar("Out")

LARGEST_BATCH = 64
MEMORY_SHARE = 0.8
"""Of the free memory of an accelerator that `auto` lets a batch fill."""
AHEAD = 2
"""Batches that are read before their turn."""
REFILLS = 4
"""Times that `--batch` images are done and committed as one: the places of images that are done are filled from the
rest, and the fewer ends of a batch there are, the fewer places stay empty."""
FEWEST = 8
"""So many parts a data set is left in, if it is large enough, for shards and workers to share."""


def plan(samples: Sequence[Sample], size: int) -> list[Batch]:
    """What is done and committed as one, in the order of the first images: images of one size, of which the engine
    attacks `size` at a time and replaces each as it is done. In a large data set that is more than `size` images."""
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
    """The batches of one shard; None: all."""
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


def fitting_batch(detector: Detector, config: RunConfig, samples: Sequence[Sample]) -> int:
    """The batch size of `--batch auto`: on CUDA what fits its free memory at the largest image, else 1.

    One pass forward and backward each with one and with two images tells what an image takes.
    """
    if detector.device.type != "cuda":
        return 1
    width, height = max((sample.size for sample in samples), key=lambda size: size[0] * size[1])
    if not width:
        return 1
    try:
        one, two = (_peak(detector, config, count, width, height) for count in (1, 2))
    except Exception as error:  # a model that cannot take a gray image will say so on the real ones
        check_device(error, f"model {detector.name}")
        if not out_of_memory(error):
            return 1
        torch.cuda.empty_cache()
        return 1
    free, _ = torch.cuda.mem_get_info(detector.device)
    held = torch.cuda.memory_reserved(detector.device) - torch.cuda.memory_allocated(detector.device)
    room = MEMORY_SHARE * (free + held) - one
    return max(1, min(LARGEST_BATCH, 1 + int(room / max(two - one, 1))))


@fixed_numerics()
def _peak(detector: Detector, config: RunConfig, count: int, width: int, height: int) -> int:
    """Bytes that an iteration of the attack takes for `count` gray images."""
    from detattack.goals import Scene, resolve

    goal = parse_goal(config.goal)
    check_goal(goal, detector.categories)
    empty = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    road = (width / 4, height / 4, width / 2, height / 2)
    target = resolve(goal, detector.categories, Scene(width, height, empty, road=road))
    target = replace(target, objects=(road,)) if target.kind == "mislabel" else target
    objective = DetectionObjective(FastDetector(detector, config.precision), [target] * count, config.score_threshold)
    torch.cuda.reset_peak_memory_stats(detector.device)
    before = torch.cuda.memory_allocated(detector.device)
    images = torch.full((count, 3, height, width), 0.5, device=detector.device, requires_grad=True)
    loss = objective(images, torch.arange(count)).loss.sum()
    torch.autograd.grad(loss, images, allow_unused=True)
    return torch.cuda.max_memory_allocated(detector.device) - before
