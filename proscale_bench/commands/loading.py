"""Loading large libraries."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until what is imported inside is there.

    numpy and torch, interrupted half-way, swallow the interruption or fail in ways that name something else.

    Raises:
        KeyboardInterrupt: at the end, where one came.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else's handler, or a shell that does not want us to listen
        return
    came = False

    def remember(*_: object) -> None:
        nonlocal came
        came = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt
