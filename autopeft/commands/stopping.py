"""Ctrl-C and SIGTERM as a pause.

Once: what is told is kept, the rest is paused, and a message says how to go on. On Ray the workers
are ended at once; in this process the rung that runs is finished. Twice: at once, as if killed.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


@contextmanager
def stops(stop: threading.Event, heard: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into `stop`; a second Ctrl-C interrupts at once.

    heard: called at the first one, inside the signal's handler: it may not wait for a lock.
    """
    interrupted = threading.Event()

    def handle(signum: int, _frame: object) -> None:
        if interrupted.is_set():
            if signum == signal.SIGINT:
                raise KeyboardInterrupt
            return
        interrupted.set()
        stop.set()
        heard()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def says_how_to_go_on(command: str) -> Iterator[None]:
    """After a second Ctrl-C: one message, and the exit code of an interruption."""
    from autopeft.terminal import talk

    try:
        yield
    except KeyboardInterrupt:
        said = f"\nstopped at once; what was told is kept. Go on with: {command}"
        talk.print(said, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None


def go_on(verb: str, study: str) -> str:
    """The command that goes on with what was paused here: from a job it is another job."""
    from autopeft.orchestrator.lease import job_here

    return f"autopeft {verb} {study}" + (" --submit" if job_here() else "")
