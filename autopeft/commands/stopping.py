"""Ctrl-C and SIGTERM as a pause."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stops(stop: threading.Event) -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into `stop`; a second Ctrl-C interrupts at once."""
    interrupted = threading.Event()

    def handle(signum: int, _frame: object) -> None:
        if interrupted.is_set() and signum == signal.SIGINT:
            raise KeyboardInterrupt
        interrupted.set()
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
