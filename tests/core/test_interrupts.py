"""Ctrl-C that comes while a library swallows it."""

import contextlib
import signal
import threading

import pytest

from detattack.core.interrupts import interrupts


def swallowed():
    """Ctrl-C, in code that lets nothing out, as libraries written in C do."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_swallowed_interrupt_is_raised_when_asked_for():
    with interrupts() as check:
        check()
        swallowed()
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_context_within_another_tells_what_came_in_it():
    with interrupts() as outer:
        swallowed()
        with interrupts() as inner:
            inner()
            swallowed()
            with pytest.raises(KeyboardInterrupt):
                inner()
        with pytest.raises(KeyboardInterrupt):
            outer()


def test_one_that_nobody_swallows_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt), interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_somebody_elses_handler_stays():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts() as check:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
        check()


def test_in_another_thread_no_handler_is_set():
    seen = []

    def work():
        with interrupts() as check:
            check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
