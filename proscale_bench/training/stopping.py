"""Ctrl-C and SIGTERM wait for the iteration to end, so that it can be kept."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

UNTOUCHED = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
IMPATIENT_S = 2.0  # torchrun passes on what the terminal has told its processes already


@contextmanager
def stop_between_iterations(stop: Callable[[], None]) -> Iterator[None]:
    """Have a signal call `stop` instead of breaking in. A second one, some seconds later, breaks in.

    Handlers are the main thread's to set. A signal that somebody else handles, or that a shell wants ignored, is left
    to them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def handle(number: int, frame: object) -> None:
        if first and time.monotonic() - first[0] > IMPATIENT_S:
            raise KeyboardInterrupt
        first.append(time.monotonic())
        stop()

    ours = [number for number, handler in UNTOUCHED.items() if signal.getsignal(number) is handler]
    before = {number: signal.signal(number, handle) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Have SIGTERM interrupt as Ctrl-C does, so that what was started can be told to stop. The main thread's alone."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
