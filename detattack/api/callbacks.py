"""Who is told of iterations, images and runs while a function of `detattack.api` is at work."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from detattack.cli.progress import Progress
from detattack.engine.listening import Iteration, listening
from detattack.runs.record import Outcome


class Callback:
    """What is told; each method may be replaced, and does nothing here. An exception that it raises ends the run."""

    def on_iteration(self, iteration: Iteration) -> None:
        """Take an iteration of the images under attack; `iteration.rows()` has their numbers."""

    def on_image(self, outcome: Outcome[Any], done: int, total: int) -> None:
        """Take a finished image, how many are done, and how many there are."""

    def on_run(self, result: Any) -> None:
        """Take what the function is about to return."""


class Told:
    """The progress of a run, for callbacks. bar: what shows it, if anything does."""

    def __init__(self, callbacks: Sequence[Callback], bar: Progress | None) -> None:
        self._callbacks, self._bar = callbacks, bar

    def say(self, note: str) -> None:
        """Show a note."""
        if self._bar:
            self._bar.say(note)

    def report(self, outcome: Outcome[Any], done: int, total: int) -> None:
        """Tell of a finished image."""
        for callback in self._callbacks:
            callback.on_image(outcome, done, total)
        if self._bar:
            self._bar.report(outcome, done, total)

    def measuring(self, done: int, total: int) -> None:
        """Show how many images are measured."""
        if self._bar:
            self._bar.measuring(done, total)

    def iterate(self, iteration: Iteration) -> None:
        """Tell of an iteration."""
        for callback in self._callbacks:
            callback.on_iteration(iteration)
        if self._bar:
            self._bar.iterate(iteration)


@contextmanager
def telling(callbacks: Sequence[Callback], progress: bool, title: str = "", spends: bool = False) -> Iterator[Told]:
    """Tell callbacks of what happens in this context.

    - progress: whether a bar is shown too; title: what it is called
    - spends: whether a budget is spent
    """
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(True, title, "broken" if spends else "success")) if progress else None
        told = Told(callbacks, bar)
        if callbacks or bar:
            stack.enter_context(listening(told.iterate))
        yield told
