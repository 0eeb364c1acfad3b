"""A run folder of any task, as the report needs it: read from its files alone, without the model.

A folder may come from anybody: nothing in it is trusted. A ledger may be long: what is held of each image are its
numbers; what is longer is looked at once (`read_run`), and once more where the page writes it down (`RunData.whole`).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from detattack.core.errors import InputError
from detattack.engine.budget import Budget, budget_in
from detattack.runs.folder import RunFolder
from detattack.runs.record import R

MOST_TRACES = 60
T = TypeVar("T")


class EvenSample(Generic[T]):
    """At most `most` evenly spaced items of a stream of unknown length. count: how many there were."""

    def __init__(self, most: int) -> None:
        self.items: list[T] = []
        self.count = 0
        self._most, self._step = most, 1

    def add(self, item: T) -> None:
        """Look at the next item of the stream."""
        if self.count % self._step == 0:
            if len(self.items) == self._most:
                self.items = self.items[::2]
                self._step *= 2
            if self.count % self._step == 0:
                self.items.append(item)
        self.count += 1


Trace = tuple[list[float], int]
"""The confidence at each iteration, and K."""


@dataclass(frozen=True, eq=False)
class RunData(Generic[R]):
    """What a run folder of any task holds.

    - records: of all finished images, without their long fields (`BaseRecord.short`).
    - traces: of an even sample of those that have one.
    - summary: `summary.json`; empty where the run is unfinished.
    """

    path: Path
    manifest: dict[str, Any]
    record_type: type[R]
    records: list[R]
    traces: EvenSample[Trace]
    summary: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The run's resolved config."""
        return self.manifest.get("config") or {}

    @property
    def budget(self) -> Budget | None:
        """The budget that the run spends on each image; None: it looks for a first success."""
        return budget_in(self.config)

    @property
    def attacked(self) -> list[R]:
        """The records of the images that were attacked, whatever their status."""
        return [record for record in self.records if record.quality]

    def whole(self) -> Iterator[R]:
        """Stream the same records with all that the ledger has of them. Raises `InputError`."""
        known = {record.id for record in self.records}  # a run that is going on adds more
        with closing(RunFolder.open(self.path, self.record_type)) as folder:
            yield from (record for record in folder.iterate() if record.id in known)


def read_run(path: Path, record_type: type[R], see: Callable[[R], None] = lambda record: None) -> RunData[R]:
    """Read a run folder of the task that has this type of record. Raises `InputError` where it is none or damaged.

    see: called with each whole record, by id.
    """
    records: list[R] = []
    traces: EvenSample[Trace] = EvenSample(MOST_TRACES)
    with closing(RunFolder.open(path, record_type)) as folder:
        for record in folder.iterate():
            records.append(record.short())
            if record.trace.get("confidence"):
                traces.add((record.trace["confidence"], record.k))
            see(record)
        summary = read_derived(path / "summary.json", dict)
        return RunData(path, folder.manifest, record_type, records, traces, summary)


def read_derived(path: Path, kind: type) -> Any:
    """Read one of the JSON files made from the ledger, a `dict` or a `list`; an empty one in an unfinished run.

    Raises `InputError`.
    """
    return read_json(path, kind) if path.is_file() else kind()


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file that holds a `dict` or a `list`. Raises `InputError`, also where there is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, kind):
        raise InputError(f"{path}: not a JSON {'object' if kind is dict else 'array'}")
    return content
