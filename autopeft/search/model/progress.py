"""How far trials are with their training.

Recipes may plan different numbers of steps (the batch size varies, or the epochs do): how many, the
estimates say. Where there are none, all trials are taken to plan as many.
"""

from collections.abc import Sequence
from dataclasses import replace

from autopeft.domain.estimates import GROWING
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Rung, State, Trial
from autopeft.search.model.costs import estimated

_PARTIAL = 0.95  # the highest fidelity of a result that is not the end

Told = list[tuple[int, float, Rung]]
"""(position, how far, rung) of every told rung; how far is 1 at the end."""


def told_rungs(problem: Problem, history: Sequence[Trial]) -> Told:
    """With the fidelity. Before anything is complete, the furthest rung stands for the end."""
    begun = [trial for trial in history if trial.rungs]
    ended = [trial for trial in begun if _ended(trial)]
    if not begun:
        return []
    furthest = max(ended or begun, key=lambda trial: trial.rungs[-1].step)
    found = []
    for position, trial in enumerate(history):
        if trial.state is State.FAILED:
            continue
        for rung in trial.rungs:
            if _ended(trial) and rung is trial.rungs[-1]:
                found.append((position, 1.0, rung))
                continue
            full = trial.rungs[-1].step if _ended(trial) else _full(problem, trial, furthest)
            top = _PARTIAL if ended else 1.0
            found.append((position, min(top, rung.step / max(full, 1)), rung))
    return found


def told_shares(problem: Problem, history: Sequence[Trial]) -> Told:
    """With the share of training that is done, which costs grow with.

    It is the fidelity, except before anything is complete: then it is of the planned steps.
    """
    told = told_rungs(problem, history)
    if any(map(_ended, history)):
        return told
    found = []
    for position, share, rung in told:
        steps = _planned(problem, history[position])
        found.append((position, share if steps is None else min(1.0, rung.step / steps), rung))
    return found


def at_the_end(problem: Problem, history: Sequence[Trial]) -> Sequence[Trial]:
    """The trials, with costs that grow with the steps as they will be after the last.

    Those of objectives and of constraints.
    """
    asked = {o.metric for o in problem.objectives} | {c.metric for c in problem.constraints}
    growing = {metric for metric in asked & GROWING if estimated(problem, metric)}
    if not growing:
        return history
    found = list(history)
    for position, share, rung in told_shares(problem, history):
        trial = history[position]
        if rung is trial.rungs[-1]:
            whole = {m: rung.metrics[m] / share for m in growing & rung.metrics.keys()}
            last = replace(rung, metrics={**rung.metrics, **whole})
            found[position] = replace(trial, rungs=(*trial.rungs[:-1], last))
    return found


def _ended(trial: Trial) -> bool:
    return trial.state is State.COMPLETED and len(trial.rungs) > 0


def _full(problem: Problem, trial: Trial, furthest: Trial) -> float:
    """The steps of a trial at its end, as far as the furthest one tells."""
    step, own, other = furthest.rungs[-1].step, *(_planned(problem, t) for t in (trial, furthest))
    return step if own is None or other is None else step * own / other


def _planned(problem: Problem, trial: Trial) -> int | None:
    """The steps of the full run by its recipe, one at least; None: nobody knows."""
    told = {} if problem.estimates is None else problem.estimates(trial.configuration)
    return max(1, round(told["steps"])) if "steps" in told else None
