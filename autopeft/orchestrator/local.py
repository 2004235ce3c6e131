"""The plain loop: one trial after another in this process."""

import logging
import signal
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from autopeft.domain.ports import Evaluator, Report
from autopeft.domain.trial import Failure, Result, Segment
from autopeft.orchestrator.curves import Curve
from autopeft.orchestrator.segments import too_long
from autopeft.orchestrator.session import StudySession

log = logging.getLogger("autopeft")


class _OverdueError(BaseException):
    """Out of a segment whose time is over; code that takes every Exception does not take it."""


def run(session: StudySession, evaluator: Evaluator, *, stop: threading.Event) -> None:
    """Ask, evaluate, tell, until the study ends or `stop` is set between two segments."""
    while not stop.is_set() and (segment := session.ask()) is not None:
        curve = Curve()
        try:
            result = _run(session, evaluator, segment, curve.report)
            session.report(segment, curve.points)
            session.tell(segment, result)
        except BaseException:
            session.release(segment)
            raise


def _run(
    session: StudySession, evaluator: Evaluator, segment: Segment, report: Report
) -> Result | Failure:
    if segment.seconds is None:
        return evaluator.run(segment, report)
    result: Result | Failure | None = None
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    try:
        with _ended_after(segment.seconds):
            result = evaluator.run(segment, report)
    except _OverdueError:
        if result is None:
            _end_children(besides=before)
            return too_long(session.spec)
    assert result is not None
    return result


def _end_children(*, besides: Set[int]) -> None:
    """End the processes that a segment started; nobody is left who would wait for them."""
    for process in psutil.Process().children(recursive=True):
        if process.pid not in besides:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Raise in the code that runs, once its time is over: at its next step of Python.

    What hangs inside a C library goes on; on Ray the worker process is killed instead.
    """
    if threading.current_thread() is not threading.main_thread():
        log.warning("resources.minutes_per_trial ends no trial here: this is no main thread")
        yield
        return

    def end(_signum: int, _frame: Any) -> None:
        raise _OverdueError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
