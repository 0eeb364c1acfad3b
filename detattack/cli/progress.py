"""Progress on stderr: how far, how fast, how long still, and how often the attack reached its goal so far."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from detattack.cli.terminal import Terminal, shown
from detattack.runs.record import Outcome

if TYPE_CHECKING:
    from detattack.engine.listening import Iteration

SLOW = 2.0
"""Seconds after which an image is slow, and shown iteration by iteration."""
AGAIN = 0.25
"""Seconds between two iterations that are shown."""


def timed(count: ProgressColumn | None = None) -> tuple[ProgressColumn, ...]:
    """List the columns of a bar: what is done, how far, for how long, and how long still.

    count: says how far; None: of how many.
    """
    far = count or MofNCompleteColumn()
    name, left = TextColumn("{task.description}"), TextColumn("left")
    return name, BarColumn(), far, TimeElapsedColumn(), left, TimeRemainingColumn()


class Progress:
    """A context manager whose `report` a run calls for each image: says what was converted, once a kind, and errors.

    `iterate` is called for each iteration, and shows those of a slow image.

    - enabled: whether more is shown than errors
    - title: what the bar is called
    - reached: what an image is called on which the goal is reached
    """

    def __init__(self, enabled: bool, title: str = "", reached: str = "success") -> None:
        self._enabled, self._title, self._reached = enabled, title, reached
        self._console = Terminal(stderr=True)
        self._bar = RichProgress(
            *timed(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[now]}", style="dim"),
            console=self._console,
            disable=not enabled,
        )
        self._task = self._bar.add_task(title or "attacking", total=None, rate="", now="")
        self._next = time.monotonic() + SLOW
        self._wins = self._tries = 0
        self._said: set[str] = set()

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, note: str) -> None:
        """Say what people should know of data and model: it changes what the figures mean, so it is never quiet."""
        self._say(f"NOTE: {' '.join(note.split())}")

    def measuring(self, done: int, total: int) -> None:
        """One finished image is measured."""
        name = f"{self._title}, measuring" if self._title else "measuring"
        self._bar.update(self._task, description=name, completed=done, total=total)

    def report(self, outcome: Outcome[Any], done: int, total: int) -> None:
        """One image is finished."""
        record = outcome.record
        for note in record.notes:
            if self._enabled and note not in self._said:
                self._said.add(note)
                self._say(f"{record.source}: {note}")
        if record.status == "error":
            self._say(f"{record.source}: error: {record.reason}")
        self._wins += record.status == "success"
        self._tries += record.status in ("success", "failure", "error")
        rate = f"{self._reached} {self._wins}/{self._tries}" if self._tries else ""
        self._bar.update(self._task, completed=done, total=total, rate=rate, now="")
        self._next = time.monotonic() + SLOW

    def iterate(self, iteration: "Iteration") -> None:
        """Show the iteration and the score of an image that takes long."""
        if not self._enabled or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + AGAIN
        name, number, _, score, _ = next(iteration.rows())
        self._bar.update(self._task, now=f"{shown(name)}: iteration {number}, score {score:.2f}")

    def _say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def phases(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show on stderr how far each phase of a work is, and how long still; what is told: its name, done, in all."""
    bar = RichProgress(*timed(), console=Terminal(stderr=True, quiet=quiet))
    bars: dict[str, TaskID] = {}

    def told(what: str, done: int, total: int) -> None:
        if not bars:
            bar.start()  # only now: what is refused before is one line
        bars[what] = bars[what] if what in bars else bar.add_task(what, total=total)
        bar.update(bars[what], completed=done, total=total)

    try:
        yield told
    finally:
        if bars:
            bar.stop()
