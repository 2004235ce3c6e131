"""Which paused trial goes on: asynchronous successive halving over several objectives.

ASHA (Li et al. 2020, arXiv 1810.05934) promotes whatever is in the best 1/eta of its rung when a
worker is free. Here "best" is constraint satisfaction, then non-dominated rank, then an epsilon net
within the rank from the best of the first measured objective (Schmucker et al. 2021, arXiv
2106.12639), all on what the trials scored at that rung. A baseline competes with the trials of its
own branch alone: it has to end, or there is nothing to compare with.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autopeft.domain.front import outcomes
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.pareto import epsilon_net, non_domination_rank
from autopeft.domain.trial import State, Trial


def promotable(
    trials: Sequence[Trial],
    *,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    eta: float,
    closing: bool,
) -> Trial | None:
    """The paused trial to run next, from the highest rung down; None when none deserves it.

    closing: no new trial will come, so the best of a rung that nothing more reaches goes on,
        however few there are.
    """
    brackets: dict[str, list[Trial]] = {}
    for trial in trials:
        brackets.setdefault(trial.configuration.branch if trial.baseline else "", []).append(trial)
    for members in brackets.values():
        highest = max((len(trial.rungs) for trial in members), default=0)
        for rung in range(highest) if closing else reversed(range(highest)):
            reached = [trial for trial in members if len(trial.rungs) > rung]
            ranked = _ranked(reached, rung, objectives, constraints)
            share = len(ranked) / eta
            settled = closing and not any(_may_reach(trial, rung) for trial in members)
            keep = math.ceil(share) if settled else math.floor(share)
            for trial in ranked[:keep]:
                if trial.state is State.PAUSED and len(trial.rungs) == rung + 1:
                    return trial
    return None


def _may_reach(trial: Trial, rung: int) -> bool:
    return trial.state is State.RUNNING and len(trial.rungs) <= rung


def _ranked(
    trials: Sequence[Trial],
    rung: int,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
) -> list[Trial]:
    then = [replace(trial, rungs=trial.rungs[: rung + 1]) for trial in trials]
    broken = [sum(not c.holds(t.metrics) for c in constraints) for t in then]
    Y = outcomes(objectives, then)
    ranks = non_domination_rank(Y)
    measured = next((i for i, o in enumerate(objectives) if not o.known), 0)
    low, high = Y.min(axis=0), Y.max(axis=0)
    unit = (Y - low) / np.where(high > low, high - low, 1.0)
    ordered: list[Trial] = []
    for group in sorted(set(zip(broken, ranks.tolist(), strict=True))):
        rows = [i for i in range(len(trials)) if (broken[i], ranks[i]) == group]
        first = int(np.argmax(unit[rows, measured]))
        ordered += [trials[rows[i]] for i in epsilon_net(unit[rows], first)]
    return ordered
