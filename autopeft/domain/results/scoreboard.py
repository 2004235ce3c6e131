"""Front and hypervolume of a study as it grows, without reading all of it again for every result.

`leading` says it of any trials, by the definitions of `front`. `Scoreboard` says the same while
trials come in: it keeps their scores as arrays, so that a result costs milliseconds where a study
has ten thousand (benchmarks/README.md, "The service under load").

n: completed configurations; m: objectives. Y: (n, m), every column maximised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.pareto import Array, hypervolume, non_dominated
from autopeft.domain.results.front import (
    baseline_metrics,
    best_baselines,
    best_values,
    first_measured,
    front,
    normalised_hypervolume,
    outcomes,
)
from autopeft.domain.results.replicates import averaged
from autopeft.domain.trial import State, Trial

_FIRST = 64  # rows that the arrays begin with


@dataclass(frozen=True)
class Leading:
    """Who leads a study.

    front: numbers of its members, by the first objective, best first. baselines: numbers of every
        baseline's best. told: trials with a result. best: as `front.best_values`.
    """

    front: tuple[int, ...]
    baselines: frozenset[int]
    hypervolume: float
    told: int
    best: Mapping[str, float]


def leading(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], trials: Sequence[Trial]
) -> Leading:
    """Who leads among these trials, all of a study."""
    return Leading(
        tuple(trial.number for trial in front(objectives, constraints, trials)),
        frozenset(trial.number for trial in best_baselines(objectives, trials).values()),
        normalised_hypervolume(objectives, constraints, trials),
        sum(bool(trial.rungs) for trial in trials),
        best_values(objectives, constraints, trials),
    )


class Scoreboard:
    """The trials of one study, each put in whenever it changed.

    A confirmation changes what a front is (`replicates.standing`): from its first trial on,
    `leading` is asked anew every time.
    """

    def __init__(self, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> None:
        self._objectives, self._constraints = objectives, constraints
        self._quality = list(objectives).index(first_measured(objectives))
        self._follows = any(constraint.baseline for constraint in constraints)
        self._told: set[int] = set()
        self._confirming = False
        self._places: dict[str, int] = {}
        self._alike: list[list[Trial]] = []  # the completed trials of a configuration, by number
        self._means: list[Trial] = []
        self._Y: Array = np.empty((_FIRST, len(objectives)))
        self._numbers = np.empty(_FIRST, dtype=np.int64)
        self._holds = np.empty(_FIRST, dtype=bool)
        self._based: list[int] = []  # places of the baselines' configurations
        self._best: dict[str, int] = {}  # of each baseline's best

    def put(self, trial: Trial) -> None:
        """Take in a trial that is new or has changed."""
        if trial.rungs:
            self._told.add(trial.number)
        self._confirming |= trial.confirms is not None
        if trial.state is not State.COMPLETED or self._confirming:
            return
        place = self._places.setdefault(trial.configuration.key, len(self._means))
        if place == len(self._means):
            self._grow()
            self._alike.append([trial])
            self._means.append(trial)
            self._based += [place] if trial.baseline else []
        else:
            others = [other for other in self._alike[place] if other.number != trial.number]
            self._alike[place] = sorted([*others, trial], key=lambda each: each.number)
            (self._means[place],) = averaged(self._alike[place])
        mean = self._means[place]
        self._Y[place] = outcomes(self._objectives, [mean])[0]
        self._numbers[place] = mean.number
        moved = trial.baseline and self._rank_baselines(place)
        baselines = self._baselines()
        for each in range(len(self._means)) if moved and self._follows else (place,):
            metrics = self._means[each].metrics
            self._holds[each] = all(c.holds(metrics, baselines) for c in self._constraints)

    def leading(self, trials: Sequence[Trial]) -> Leading:
        """trials: all that were put in, by number."""
        if self._confirming or not self._means:
            return leading(self._objectives, self._constraints, trials)
        count = len(self._means)
        order = np.argsort(self._numbers[:count], kind="stable")
        Y, holds = self._Y[order], self._holds[order]
        held = np.flatnonzero(holds)
        on = held[non_dominated(Y[held])]
        on = on[np.argsort(-Y[on, 0], kind="stable")]
        best = frozenset(self._means[place].number for place in self._best.values())
        return Leading(
            tuple(self._numbers[order[on]].tolist()),
            best,
            self._volume(Y, Y[held]),
            len(self._told),
            self._best_values(order[held]),
        )

    def _grow(self) -> None:
        if len(self._means) == len(self._Y):
            self._Y = np.concatenate([self._Y, np.empty_like(self._Y)])
            self._numbers = np.concatenate([self._numbers, np.empty_like(self._numbers)])
            self._holds = np.concatenate([self._holds, np.empty_like(self._holds)])

    def _rank_baselines(self, place: int) -> bool:
        """Whether another configuration leads its baseline, or the same one by another mean."""
        name = self._means[place].configuration.branch
        before = self._best.get(name)
        alike = [i for i in self._based if self._means[i].configuration.branch == name]
        self._best[name] = max(alike, key=lambda i: (self._Y[i, self._quality], -self._numbers[i]))
        return before != self._best[name] or place == before

    def _baselines(self) -> Mapping[str, Mapping[str, float]]:
        if not self._follows:
            return {}
        return baseline_metrics(self._objectives, [self._means[i] for i in self._best.values()])

    def _volume(self, Y: Array, held: Array) -> float:
        """As `front.normalised_hypervolume`. held: the rows that hold every constraint."""
        reference = np.array(
            [
                objective.transform(objective.reference)
                if objective.reference is not None
                else (Y if objective.known or not self._based else self._Y[self._based])[:, j].min()
                for j, objective in enumerate(self._objectives)
            ]
        )
        best = Y.max(axis=0)
        span = np.where(best > reference, best - reference, 1.0)
        return hypervolume((held - reference) / span, np.zeros(len(self._objectives)))

    def _best_values(self, held: NDArray[np.int64]) -> dict[str, float]:
        """As `front.best_values`. held: places of what holds every constraint, by number."""
        if not len(held):
            return {}
        costs = [j for j, objective in enumerate(self._objectives) if objective.known]
        among = {"": held}
        if costs:
            for name, place in self._best.items():
                within = np.all(self._Y[held][:, costs] >= self._Y[place, costs], axis=1)
                among[f"_within_{name}"] = held[within]
        return {
            o.metric + where: self._means[some[np.argmax(self._Y[some, j])]].metrics[o.metric]
            for where, some in among.items()
            for j, o in enumerate(self._objectives)
            if len(some) and not o.known
        }
