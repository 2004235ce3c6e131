"""What a search is compared on: a problem, what a trial of it would show, and what is true.

    landscape = problems.make("layered", seed=0)
    metrics, stderr = landscape.observe(configuration, seed=3)

Scores are those of `Objective.score`: every one maximised. m: objectives; n: trials.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.model import ModelShape
from autopeft.domain.objective import Objective
from autopeft.domain.pareto import Array, hypervolume, non_dominated
from autopeft.domain.ports import Problem
from autopeft.domain.results.front import outcomes
from autopeft.domain.space import Branch, Choice, Point, Space
from autopeft.domain.trial import Rung, Trial

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Landscape:
    """A search problem whose answer is known.

    observe: (configuration, seed) -> what a trial measures, and its standard errors.
    true: the same without noise; seconds: how long that trial takes.
    reference: (m,) the score that hypervolume is measured from; the same in every instance.
    best_hypervolume: of the true front.
    """

    name: str
    problem: Problem
    observe: Callable[[Configuration, int], tuple[Metrics, Metrics]]
    true: Callable[[Configuration], Metrics]
    seconds: Callable[[Configuration], float]
    reference: Array
    best_hypervolume: float

    def __post_init__(self) -> None:
        if not self.best_hypervolume > 0:
            raise AutopeftError(
                f"landscape {self.name} needs a front above its reference, got a hypervolume of "
                f"{self.best_hypervolume}: lower the reference"
            )

    def scores(self, trials: Sequence[Trial]) -> Array:
        """(n, m) true scores of trials, whatever they measured."""
        return outcomes(self.problem.objectives, [self._truly(trial) for trial in trials])

    def share(self, scores: Array) -> float:
        """What these scores, (n, m), cover of what can be covered."""
        return hypervolume(scores, self.reference) / self.best_hypervolume

    def _truly(self, trial: Trial) -> Trial:
        return replace(trial, rungs=(Rung(0, 1, self.true(trial.configuration)),))


@dataclass(frozen=True)
class Row:
    """A configuration of a table.

    runs: the measured metrics of every time it was trained; all have the same names.
    stderr: of a single run.
    """

    configuration: Configuration
    known: Metrics
    runs: Sequence[Metrics]
    stderr: Metrics
    seconds: float

    @property
    def mean(self) -> dict[str, float]:
        return {name: float(np.mean([run[name] for run in self.runs])) for name in self.runs[0]}


def best(scores: Array, reference: Array) -> float:
    """Hypervolume of many candidates, of whom few are on the front: (n, 2) scores."""
    order = np.lexsort((-scores[:, 0], -scores[:, 1]))
    ahead = np.maximum.accumulate(scores[order, 0])
    rises = np.append(True, ahead[1:] > ahead[:-1])
    front = scores[order][rises]
    return hypervolume(front[non_dominated(front)], reference)


def over_rows(
    name: str,
    rows: Mapping[str, Row],
    objectives: tuple[Objective, ...],
    shape: ModelShape,
    reference: Mapping[str, float],
) -> Landscape:
    """A table as a space of one choice: which of its rows. What it observes is a run of the row.

    Args:
        rows: by the names that the choice offers.
        reference: a value, not a score, for every objective's metric.
    """
    names = tuple(rows)
    space = Space((Branch("table", {"row": Choice(names)}),))

    def configure(point: Point) -> Configuration:
        return rows[names[point["row"]]].configuration

    by_architecture = {row.configuration.architecture: row.known for row in rows.values()}
    problem = Problem(space, objectives, (), shape, configure, by_architecture.__getitem__)
    return over_problem(name, problem, list(rows.values()), reference)


def over_problem(
    name: str, problem: Problem, rows: Sequence[Row], reference: Mapping[str, float]
) -> Landscape:
    """A problem all of whose configurations are in a table."""
    by_key = {row.configuration.key: row for row in rows}
    if len(by_key) < len(rows):
        raise AutopeftError(f"table {name} has a configuration twice: make it one row of two runs")
    objectives = problem.objectives
    scores = np.array([[o.score({**row.known, **row.mean}) for o in objectives] for row in rows])
    zero = np.array([o.transform(reference[o.metric]) for o in objectives])

    def observe(configuration: Configuration, seed: int) -> tuple[Metrics, Metrics]:
        row = by_key[configuration.key]
        rng = np.random.default_rng([seed, int(configuration.key, 16)])
        return row.runs[int(rng.integers(len(row.runs)))], row.stderr

    return Landscape(
        name=name,
        problem=problem,
        observe=observe,
        true=lambda configuration: by_key[configuration.key].mean,
        seconds=lambda configuration: by_key[configuration.key].seconds,
        reference=zero,
        best_hypervolume=hypervolume(scores, zero),
    )
