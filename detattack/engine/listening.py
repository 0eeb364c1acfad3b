"""Who is told of each iteration: the progress of a slow image, and callbacks of a program.

An attack says what it did to whoever listens in this context; where nobody does, it costs nothing. What is told are
tensors as they are, so that a listener that skips most iterations does not make the host wait for the device.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Iteration:
    """One iteration of the n images of a batch that are under attack.

    - images: their names, the stems of their files; their places in the batch where they have none
    - numbers: int `[n]`, each image's own iteration, from 0 on, on the host
    - loss: `[n]`, what is minimized
    - score: `[n]`, the score that the goal is about
    - distance: `[n]`, L2 from the originals, of values in [0,1]
    """

    images: Sequence[str]
    numbers: Tensor
    loss: Tensor
    score: Tensor
    distance: Tensor

    def rows(self) -> Iterator[tuple[str, int, float, float, float]]:
        """Yield name, number, loss, score and distance of each image; the host waits for the device."""
        values = (values.tolist() for values in (self.numbers, self.loss, self.score, self.distance))
        yield from zip(self.images, *values, strict=True)


Listener = Callable[[Iteration], None]
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_NAMES: ContextVar[Sequence[str]] = ContextVar("names", default=())


class _ListenerFailed(BaseException):
    """What a listener raised, which is not to be taken for a failure of the model on an image."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Tell a listener of all iterations in this context; None: nobody. What it raises ends the context."""
    before = _LISTENER.set(listener)
    try:
        yield
    except _ListenerFailed as failed:
        raise failed.error from None
    finally:
        _LISTENER.reset(before)


@contextmanager
def named(names: Sequence[str]) -> Iterator[None]:
    """Name the images of the batch that is attacked in this context."""
    before = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(before)


def tell(rows: Tensor, numbers: Tensor, loss: Tensor, score: Tensor, distance: Tensor) -> None:
    """Tell of an iteration of the images at places `rows` `[n]` of the batch. All else as of `Iteration`."""
    listener, names = _LISTENER.get(), _NAMES.get()
    if listener is not None:
        images = [names[row] if names else str(row) for row in rows.tolist()]
        try:
            listener(Iteration(images, numbers, loss.detach(), score.detach(), distance.detach()))
        except Exception as error:
            raise _ListenerFailed(error) from error
