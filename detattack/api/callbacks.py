"""Who is told of iterations, images and runs while a function of `detattack.api` is at work."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from detattack.cli.progress import Progress
from detattack.core.errors import InputError
from detattack.engine.listening import Iteration, listening
from detattack.runs.record import Outcome


class Callback:
    """What is told; each method may be replaced, and does nothing here. An exception that it raises ends the run."""

    def on_start(self, run: str) -> None:
        """Take the name of a run that begins: of a comparison the method; empty where there is one run alone."""

    def on_iteration(self, iteration: Iteration) -> None:
        """Take an iteration of the images under attack; `iteration.rows()` has their numbers."""

    def on_image(self, outcome: Outcome[Any], done: int, total: int) -> None:
        """Take a finished image, how many are done, and how many there are."""

    def on_run(self, result: Any) -> None:
        """Take what the function is about to return."""


def checked(callbacks: Iterable[Callback]) -> Sequence[Callback]:
    """Return what was given as callbacks, each once it is known to be one. Raises `InputError`."""
    if not isinstance(callbacks, Iterable):
        raise InputError(f"callbacks: expected a list of Callback, got {type(callbacks).__name__}")
    given = tuple(callbacks)
    for one in given:
        if isinstance(one, type):
            raise InputError(f"callbacks: {one.__name__} is a class; an object of it is needed, {one.__name__}(...)")
        if not isinstance(one, Callback):
            raise InputError(f"callbacks: {type(one).__name__} is no Callback, the class to derive one from")
    return given


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
        for callback in callbacks:
            callback.on_start(title)
        if callbacks or bar:
            stack.enter_context(listening(told.iterate))
        yield told
