"""What early stopping has saved: device hours that paused trials would have taken to their end.

A trial that stands at rung k has taken t seconds. To its end it would have taken t times the ratio
of the whole training to that until rung k, which is the median over the trials that went through
all rungs: it is measured, with what starting and judging take. A trial that is promoted later gives
its saving back.
"""

from collections.abc import Iterable
from statistics import median

from autopeft.domain.results.replicates import searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial


def saved_hours(spec: StudySpec, trials: Iterable[Trial]) -> float | None:
    """Device hours that the paused trials have saved.

    None: the study has no rungs, or no trial has gone through them yet, so nothing is known.
    """
    own = searched(trials)
    whole = [t for t in own if t.state is State.COMPLETED and len(t.rungs) > 1]
    if spec.search.rungs is None or not whole:
        return None
    saved = 0.0
    for trial in own:
        if trial.state is State.PAUSED:
            ratio = _ratio(whole, len(trial.rungs))
            saved += 0.0 if ratio is None else trial.seconds * (ratio - 1)
    return saved * spec.resources.devices / 3600


def _ratio(whole: Iterable[Trial], told: int) -> float | None:
    """Of the whole training to that of its first `told` rungs; None where nobody has that many."""
    found = []
    for trial in whole:
        until = sum(rung.seconds for rung in trial.rungs[:told])
        if len(trial.rungs) > told and until > 0:
            found.append(trial.seconds / until)
    return median(found) if found else None
