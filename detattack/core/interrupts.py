"""Ctrl-C that is never lost.

Libraries written in C, and callbacks of the interpreter, may swallow `KeyboardInterrupt` or turn it into an error of
their own, which would then be recorded as the model's.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_pressed = 0
"""How often Ctrl-C was pressed within these contexts."""


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """Provide a function that raises `KeyboardInterrupt` if Ctrl-C was pressed since this context was entered.

    Signals reach the main thread only: in other threads, and where SIGINT has a handler of another already, the
    function never raises. A context may be within another.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = _pressed

    def check() -> None:
        if _pressed > before:
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # it is noted already, or not to be
        yield check
        return
    signal.signal(signal.SIGINT, _note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _note(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed += 1
    raise KeyboardInterrupt
