"""A limit on what one input may take: 10 seconds of the processor, or two minutes in all."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS, IN_ALL = 10, 120
COUNTS: Counter[str] = Counter()
"""What became of the inputs within these limits."""


class Hang(BaseException):
    """Nothing catches it on the way."""


@contextmanager
def limited() -> Iterator[None]:
    """Raises `Hang` in what takes longer."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, stop), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, IN_ALL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGALRM, before[1])
