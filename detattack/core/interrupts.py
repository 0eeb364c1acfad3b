"""Ctrl-C that is never lost.

Libraries written in C, and callbacks of the interpreter, may swallow `KeyboardInterrupt` or turn it into an error of
their own, which would then be recorded as the model's.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """Provide a function that raises `KeyboardInterrupt` if Ctrl-C was pressed since this context was entered.

    Signals reach the main thread only: in other threads, and where SIGINT has a handler already, the function never
    raises.
    """
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # or is ignored, as by nohup
        yield check
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
