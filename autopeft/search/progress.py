"""How far trials are with their training."""

from collections.abc import Sequence
from dataclasses import replace

from autopeft.domain.estimates import GROWING
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Rung, State, Trial
from autopeft.search.costs import estimated

_PARTIAL = 0.95  # the highest fidelity of a result that is not the end


def told_rungs(history: Sequence[Trial]) -> list[tuple[int, float, Rung]]:
    """(position, fidelity, rung) of every told rung."""
    ends = [t.rungs[-1].step for t in history if t.state is State.COMPLETED and t.rungs]
    furthest = max((rung.step for trial in history for rung in trial.rungs), default=1)
    full = max(ends) if ends else furthest
    found = []
    for position, trial in enumerate(history):
        if trial.state is State.FAILED:
            continue
        own = trial.rungs[-1].step if trial.state is State.COMPLETED and trial.rungs else full
        for rung in trial.rungs:
            last = rung is trial.rungs[-1] and trial.state is State.COMPLETED
            # Before anything is complete, the furthest rung stands for the end.
            top = 1.0 if last or not ends else _PARTIAL
            found.append((position, 1.0 if last else min(top, rung.step / max(own, 1)), rung))
    return found


def at_the_end(problem: Problem, history: Sequence[Trial]) -> Sequence[Trial]:
    """The trials, with costs that grow with the steps as they will be after the last."""
    growing = {o.metric for o in problem.objectives if estimated(problem, o.metric)} & GROWING
    if not growing:
        return history
    found = list(history)
    for position, fidelity, rung in told_rungs(history):
        trial = history[position]
        if rung is trial.rungs[-1]:
            whole = {m: rung.metrics[m] / fidelity for m in growing & rung.metrics.keys()}
            last = replace(rung, metrics={**rung.metrics, **whole})
            found[position] = replace(trial, rungs=(*trial.rungs[:-1], last))
    return found
