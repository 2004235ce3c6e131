"""The plain loop: one trial after another in this process."""

import threading
from collections.abc import Mapping

from autopeft.domain.ports import Evaluator
from autopeft.orchestrator.session import StudySession

Curve = list[tuple[int, Mapping[str, float]]]


def run(session: StudySession, evaluator: Evaluator, *, stop: threading.Event) -> None:
    """Ask, evaluate, tell, until the study ends or `stop` is set between two segments."""
    while not stop.is_set() and (segment := session.ask()) is not None:
        curve: Curve = []

        def report(step: int, metrics: Mapping[str, float], to: Curve = curve) -> None:
            to.append((step, metrics))

        try:
            result = evaluator.run(segment, report)
            session.report(segment, curve)
            session.tell(segment, result)
        except BaseException:
            session.release(segment)
            raise
