"""When a study gives up: no trial has a result, and what went wrong is not the configurations'."""

from collections.abc import Sequence

from autopeft.domain.trial import Failure, FailureReason, State, Trial

_ALIKE = 3  # failures with one message, which names the error and where it was raised
_ERRORS = 5  # errors of any kind


def hopeless(trials: Sequence[Trial], *, since: float) -> Failure | None:
    """The failure that ends a study early; None: it goes on.

    since: seconds since the epoch when the driver began. Earlier failures do not count: who
    mended the code and resumes has as many tries again. Trials that still run say nothing, so
    workers beside each other come to the same end.
    """
    if any(trial.rungs for trial in trials):
        return None
    ended = [t for t in trials if t.state is not State.RUNNING and t.created >= since]
    failures = [trial.failure for trial in ended if trial.failure is not None]
    if not failures:
        return None
    errors = [failure for failure in failures if not failure.teaches]
    if len(errors) == len(failures) >= _ALIKE and len({f.message for f in errors}) == 1:
        return failures[-1]
    if len(errors) == len(failures) >= _ERRORS:
        return failures[-1]
    # A metric that is never a number: of a diverged training the message tells the step.
    undefined = [f for f in failures if f.reason is FailureReason.NOT_FINITE]
    if len(undefined) == len(failures) >= _ERRORS and len({f.message for f in undefined}) == 1:
        return failures[-1]
    return None
