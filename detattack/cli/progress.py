"""Progress on stderr: how far, how fast, how long still, and how often the attack reached its goal so far."""

from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from detattack.cli.terminal import Terminal
from detattack.runs.record import Outcome


class Progress:
    """A context manager whose `report` a run calls for each image: says what was converted, once a kind, and errors.

    - enabled: whether more is shown than errors
    - title: what the bar is called
    - reached: what an image is called on which the goal is reached
    """

    def __init__(self, enabled: bool, title: str = "", reached: str = "success") -> None:
        self._enabled, self._reached = enabled, reached
        self._console = Terminal(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            disable=not enabled,
        )
        self._task = self._bar.add_task(title or "attacking", total=None, rate="")
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
        self._bar.update(self._task, description="measuring", completed=done, total=total)

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
        self._bar.update(self._task, completed=done, total=total, rate=rate)

    def _say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
