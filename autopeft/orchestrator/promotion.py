"""Which paused trial may go on: asynchronous successive halving over several objectives.

ASHA (Li et al. 2020, arXiv 1810.05934) promotes whatever is in the best 1/eta of its rung when a
worker is free. Here "best" is constraint satisfaction, then non-dominated rank, then an epsilon net
within the rank from the best of the first measured objective (Schmucker et al. 2021, arXiv
2106.12639), all on what the trials scored at that rung. A baseline competes with the trials of its
own branch alone: it has to end, or there is nothing to compare with.

A recipe may end before a rung. Its trial goes on at once, to be kept, and takes nobody's place.

Where somebody can say how trials will end (`ports.Forecaster`), a rung gives out places instead,
one for every eta trials that reach it, and who takes one is theirs to say: a rung kills losers, it
does not rank winners. By rank, whoever comes late into the best 1/eta goes on too, after others
that have fallen out of it; so fewer go on by places at the same eta.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.pareto import epsilon_net, non_domination_rank
from autopeft.domain.results.front import baseline_metrics, outcomes
from autopeft.domain.trial import Rung, State, Trial

_Count = Callable[[Trial], int]


@dataclass(frozen=True)
class _Opening:
    """A rung where trials wait. reached: those that paused there, waiting ones too.

    One that ended at the rung or before it, by a shorter recipe, takes no place.

    places: how many of them may go on.
    """

    rung: int
    baseline: bool
    reached: Sequence[Trial]
    waiting: Sequence[Trial]
    places: int


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
    if (trained := _trained(trials)) is not None:
        return trained
    broken = _broken(objectives, constraints, trials)
    for opening in _openings(trials, eta, closing):
        if (found := _ahead(opening, objectives, broken)) is not None:
            return found
    return None


def contenders(
    trials: Sequence[Trial],
    *,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    eta: float,
    closing: bool,
) -> list[Trial]:
    """The paused trials of which one is to run next, whichever promises most; [] when none is.

    As many go on from a rung as have a place there. Those that break the fewest constraints
    contend, best at the rung first. A baseline contends with nobody.
    """
    if (trained := _trained(trials)) is not None:
        return [trained]
    broken = _broken(objectives, constraints, trials)
    for opening in _openings(trials, eta, closing):
        if opening.baseline:
            found = _ahead(opening, objectives, broken)
            if found is not None:
                return [found]
        elif len(opening.reached) - len(opening.waiting) < opening.places:
            ordered = _ranked(opening.waiting, opening.rung, objectives, broken)
            counts = [broken(trial) for trial in ordered]
            return [t for t, count in zip(ordered, counts, strict=True) if count == min(counts)]
    return []


def _openings(trials: Sequence[Trial], eta: float, closing: bool) -> Iterator[_Opening]:
    brackets: dict[str, list[Trial]] = {}
    for trial in trials:
        brackets.setdefault(trial.configuration.branch if trial.baseline else "", []).append(trial)
    for members in brackets.values():
        highest = max((len(trial.rungs) for trial in members), default=0)
        for rung in range(highest) if closing else reversed(range(highest)):
            reached = [t for t in members if _paused_at(t, rung)]
            waiting = [t for t in reached if t.state is State.PAUSED and len(t.rungs) == rung + 1]
            share = len(reached) / eta
            settled = closing and not any(_may_reach(trial, rung) for trial in members)
            places = math.ceil(share) if settled else math.floor(share)
            if waiting and places:
                yield _Opening(rung, members[0].baseline, reached, waiting, places)


def _trained(trials: Sequence[Trial]) -> Trial | None:
    """A paused trial that has nothing left to train: its run was over before the rung's step."""
    return next((t for t in trials if t.state is State.PAUSED and _over(t, t.rungs[-1])), None)


def _paused_at(trial: Trial, rung: int) -> bool:
    if len(trial.rungs) <= rung + (trial.state is State.COMPLETED):
        return False
    return not _over(trial, trial.rungs[rung])


def _over(trial: Trial, rung: Rung) -> bool:
    """Of what a Trainer trains; own code plans no steps."""
    return bool(rung.step >= trial.provenance.get("total_steps", math.inf))


def _ahead(opening: _Opening, objectives: Sequence[Objective], broken: _Count) -> Trial | None:
    """The first of those in a place that waits."""
    ranked = _ranked(opening.reached, opening.rung, objectives, broken)
    waiting = {trial.number for trial in opening.waiting}
    return next((t for t in ranked[: opening.places] if t.number in waiting), None)


def _broken(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], trials: Sequence[Trial]
) -> _Count:
    """How many constraints a trial breaks; a baseline's bound holds once the baseline has ended."""
    following = any(constraint.baseline is not None for constraint in constraints)
    baselines = baseline_metrics(objectives, trials) if following else {}
    return lambda trial: sum(not c.holds(trial.metrics, baselines) for c in constraints)


def _may_reach(trial: Trial, rung: int) -> bool:
    return trial.state is State.RUNNING and len(trial.rungs) <= rung


def _ranked(
    trials: Sequence[Trial],
    rung: int,
    objectives: Sequence[Objective],
    broken: _Count,
) -> list[Trial]:
    then = [replace(trial, rungs=trial.rungs[: rung + 1]) for trial in trials]
    counts = [broken(trial) for trial in then]
    Y = outcomes(objectives, then)
    ranks = non_domination_rank(Y)
    measured = next((i for i, o in enumerate(objectives) if not o.known), 0)
    low, high = Y.min(axis=0), Y.max(axis=0)
    unit = (Y - low) / np.where(high > low, high - low, 1.0)
    ordered: list[Trial] = []
    for group in sorted(set(zip(counts, ranks.tolist(), strict=True))):
        rows = [i for i in range(len(trials)) if (counts[i], ranks[i]) == group]
        first = int(np.argmax(unit[rows, measured]))
        ordered += [trials[rows[i]] for i in epsilon_net(unit[rows], first)]
    return ordered
