"""Drives a data set through the engine, batch by batch, into a run folder.

It is resumable, past bad images, whatever the task.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from detattack.core.errors import ImageError, InputError
from detattack.core.faults import NoGradient, check_one_image, out_of_memory
from detattack.core.interrupts import interrupts
from detattack.core.wording import counted
from detattack.datasets.base import Dataset, Picture, Sample
from detattack.runs.batching import Batch, read_ahead
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import ALL_MEASURES
from detattack.runs.measure import measure_all
from detattack.runs.record import Outcome, R, untouched

Report = Callable[[Outcome[Any], int, int], None]
"""Told of each finished image: its outcome, how many are done, and how many there are."""
Item = tuple[R, Picture | None]
"""An image named and read; one that cannot be read has an `error` record and no picture."""
AttackPictures = Callable[[list[tuple[R, Picture]]], list[Outcome[R]]]
"""Attacks images of one size. Each comes with a record that names it (`id`, `stem`, `source`)."""
AttackBatch = Callable[[Any, list[tuple[R, Picture]]], list[Outcome[R]]]
"""The same, given the model first; pickles, so that another process can do it."""

MOST_WITHOUT_GRADIENT = 25
"""Images without a gradient, and none with one before or between, after which it is said of the model."""
MOST_HELD = 100
"""Images that are held back until it is known."""


class Runnable(Protocol[R]):
    """What is to be run: a model and a config, over a data set. One for each task."""

    @property
    def dataset(self) -> Dataset:
        """The images, each with its id, in order."""

    @property
    def all_measures(self) -> bool:
        """Whether all measures of quality are taken, instead of the quick ones."""

    def batches(self) -> list[Batch]:
        """List what is to be done, resumed or not: decided over the whole data set."""

    def attack(self, pictures: list[tuple[R, Picture]]) -> list[Outcome[R]]:
        """Attack images of one size: `AttackPictures`."""

    def job(self) -> AttackBatch[R]:
        """Make what does what `attack` does, in another process, with a model that `loader` gave it."""

    def loader(self) -> Callable[[], Any]:
        """Make what loads the model in another process; pickles, since it names the model and does not hold it."""

    def write_figures(self, folder: Path, outcomes: list[Outcome[R]]) -> None:
        """Write the pictures of finished images, if any are wanted."""

    def complete(self, folder: Any) -> None:
        """Write what is made from the ledger: from nothing else, so at any time and to the same bytes."""


class Executor(Protocol):
    """Who attacks the batches of a run."""

    def attack(self, run: Runnable[R], record_type: type[R], batches: Sequence[Batch]) -> Iterator[list[Outcome[R]]]:
        """Yield the outcomes of each batch, in the order of the batches. Left early, it does no more."""


class InProcess:
    """An executor in this process, which reads images ahead of time."""

    def attack(self, run: Runnable[R], record_type: type[R], batches: Sequence[Batch]) -> Iterator[list[Outcome[R]]]:
        """Yield the outcomes of each batch."""
        for items in read_ahead(batches, partial(_read_batch, record_type)):
            yield _outcomes_of_items(run.attack, items)


def execute(
    run: Runnable[R],
    folder: RunFolder[R],
    report: Report,
    measuring: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
    retry_errors: bool = False,
) -> None:
    """Carry out a run, or what is left of it; the folder is complete when this returns.

    - report: told of each finished image
    - measuring: told how many images of how many are measured
    - executor: who attacks; None: this process
    - retry_errors: whether images that are errors are attacked again
    """
    batches, done = run.batches(), folder.done(errors=not retry_errors)
    left = [rest for batch in batches if (rest := tuple(sample for sample in batch if sample.id not in done))]
    count, total = len(done), sum(map(len, batches))
    with interrupts() as check:
        if left:
            folder.mark_unfinished()
        found = (executor or InProcess()).attack(run, folder.record_type, left)
        for outcomes in found if folder.has_attacked() else _once_attackable(found):
            check()  # what an interrupt made of these is not known
            run.write_figures(folder.path, outcomes)
            folder.commit(outcomes)
            for outcome in outcomes:
                count += 1
                report(outcome, count, total)
        if run.all_measures or folder.manifest.get(ALL_MEASURES):  # also where they were asked for before
            measure_all(folder, run.dataset, measuring)
        check()
        run.complete(folder)


def read_all(batches: Sequence[Batch], record_type: type[R]) -> list[list[Item[R]]]:
    """All images in groups of one size, read once: for `attack_all`. What cannot be read has a group of its own."""
    return [group for batch in batches for group in _groups(_read_batch(record_type, batch))]


def attack_all(run: Runnable[R], groups: Iterable[list[Item[R]]]) -> Iterator[Outcome[R]]:
    """Attack images that are in memory, without a folder; yield the outcomes, group by group."""
    for outcomes in _once_attackable(_outcomes(run.attack, group) for group in groups):
        yield from outcomes


def attack_batch(attack: AttackPictures[R], record_type: type[R], batch: Batch) -> list[Outcome[R]]:
    """Attack a batch whose images are yet to be read; return the outcomes. attack: as of a run."""
    return _outcomes_of_items(attack, _read_batch(record_type, batch))


def give_up(record_type: type[R], sample: Sample, reason: str, readable: bool = True) -> Outcome[R]:
    """Make the outcome of an image that cannot be attacked, for a reason that is not the image's own.

    readable: whether the image may be read, so that its file completes the data set.
    """
    failed = record_type(sample.id, sample.stem, sample.source, status="error", reason=reason)
    if not readable:
        return Outcome(failed)
    record, picture = _read(record_type, sample)
    return Outcome(record) if picture is None else untouched(failed, picture)


def _once_attackable(batches: Iterator[list[Outcome[R]]]) -> Iterator[list[Outcome[R]]]:
    """Yield the same, of a model that can be attacked: the first images without a gradient wait until one has one.

    Raises `InputError` where none has: it is the model that lets none through.
    """
    held: list[list[Outcome[R]]] = []
    lacking: list[R] = []
    for outcomes in batches:
        held.append(outcomes)
        records = [outcome.record for outcome in outcomes]
        lacking += [record for record in records if record.reason.startswith(NoGradient.__name__)]
        attacked = any(record.status in ("success", "failure") for record in records)
        if attacked or not lacking or sum(map(len, held)) > MOST_HELD:
            yield from held
            held = []
        if attacked:
            yield from batches
            return
        if len(lacking) >= MOST_WITHOUT_GRADIENT:
            break
    if lacking:
        raise InputError(lacking[0].reason.removeprefix(f"{NoGradient.__name__}: "))


def _read_batch(record_type: type[R], batch: Batch) -> list[Item[R]]:
    return [_read(record_type, sample) for sample in batch]


def _groups(items: list[Item[R]]) -> Iterator[list[Item[R]]]:
    """Part a batch where an image is not of the size that the data set says, or could not be read."""
    groups: dict[tuple[int, ...] | None, list[Item[R]]] = {}
    for record, picture in items:
        shape = None if picture is None else picture.pixels.shape
        groups.setdefault(shape, []).append((record, picture))
    yield from groups.values()


def _read(record_type: type[R], sample: Sample) -> Item[R]:
    record = record_type(sample.id, sample.stem, sample.source, status="")
    try:
        picture = sample.load()
    except InputError as error:
        return replace(record, status="error", reason=str(error)), None
    height, width = picture.pixels.shape[:2]
    if sample.size not in ((width, height), (0, 0)):
        said = f"the data set says {sample.size[0]}×{sample.size[1]}, the image is of another size"
        picture = replace(picture, notes=(*picture.notes, said))
    return record, picture


def _outcomes_of_items(attack: AttackPictures[R], items: list[Item[R]]) -> list[Outcome[R]]:
    return [outcome for group in _groups(items) for outcome in _outcomes(attack, group)]


def _outcomes(attack: AttackPictures[R], group: list[Item[R]]) -> list[Outcome[R]]:
    """Attack images of one size; one that the model fails on is recorded, its neighbors go on without it.

    Raises `DeviceBroken` where no image after it could be attacked.
    """
    pictures = [(record, picture) for record, picture in group if picture is not None]
    if not pictures:
        return [Outcome(record) for record, _ in group]
    try:
        return attack(pictures)
    except Exception as error:  # the model is someone else's code: whatever it raises concerns this batch only
        check_one_image(error, _named(pictures))
        who = "" if isinstance(error, ImageError) else f"{type(error).__name__}: "
        memory, reason = out_of_memory(error), who + " ".join(str(error).split())[:300]
    if memory:  # outside of the handler, which keeps what the failed attempt held
        _free_memory()
    if len(group) > 1:
        size = len(group) // 2 if memory else 1
        return [o for i in range(0, len(group), size) for o in _outcomes(attack, group[i : i + size])]
    record, picture = pictures[0]
    return [untouched(replace(record, status="error", reason=reason), picture)]


def _named(pictures: list[tuple[R, Picture]]) -> str:
    sources = [record.source for record, _ in pictures]
    return sources[0] if len(sources) == 1 else f"{sources[0]} and the {counted(len(sources) - 1, 'image')} with it"


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
