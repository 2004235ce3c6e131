"""A machine that goes away: who trains on it is told, and pauses to a checkpoint.

A worker hears of it by SIGTERM (`ray stop`, a spot node, Kubernetes) or because its node is drained
(`ask`). While a training looks (`looking`) it stops after the step that it is in and writes a
checkpoint; at any other moment SIGTERM does what it always does. What is lost is one step, where
the machine lives for as long as that and the checkpoint take; else the segment starts again where
it began.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_asked, _looking = threading.Event(), threading.Event()


class Preempted(BaseException):
    """A segment was cut short and left a checkpoint: no result, and no failure either.

    No Exception, so that nobody takes it for a failure of the trial.
    """


def ask() -> None:
    """Ask the training of this process to pause."""
    _asked.set()


def asked() -> bool:
    return _asked.is_set()


@contextmanager
def looking() -> Iterator[None]:
    """Around a training that asks `asked` after every step."""
    _looking.set()
    try:
        yield
    finally:
        _looking.clear()


@contextmanager
def heard() -> Iterator[None]:
    """Hear SIGTERM in a worker. Python lets the main thread alone: elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def handle(signum: int, frame: Any) -> None:
        _asked.set()
        if _looking.is_set():
            return
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
