"""How a search went: hypervolume after every trial, and the device hours spent until then.

The axes are those of the end (`front.reference_point`, and the best value of every objective), so
that the curve never falls because a later trial moved them; its last value is the study's
`normalised_hypervolume`. A configuration with several seeds counts with the mean over all of them,
from the end of its first completed trial on.

n: trials that have ended; m: objectives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.pareto import Array, hypervolume, non_dominated
from autopeft.domain.results.front import feasible, outcomes, reference_point
from autopeft.domain.results.replicates import averaged
from autopeft.domain.trial import State, Trial


@dataclass(frozen=True)
class Axes:
    """What scores are normalised by: reference and span, (m,)."""

    reference: Array
    span: Array

    @classmethod
    def of(cls, objectives: Sequence[Objective], done: Sequence[Trial]) -> "Axes":
        """done: completed configurations, averaged; at least one."""
        reference = reference_point(objectives, done)
        best = outcomes(objectives, done).max(axis=0)
        return cls(reference, np.where(best > reference, best - reference, 1.0))

    def place(self, Y: Array) -> Array:
        """(n, m) scores with the reference at 0 and the best at 1."""
        return (Y - self.reference) / self.span


@dataclass(frozen=True)
class Step:
    """After a trial had ended: device hours of all trials until then, and the hypervolume."""

    trial: int
    hours: float
    hypervolume: float


def progress(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    trials: Sequence[Trial],
    *,
    devices: float,
) -> list[Step]:
    """A step for every trial that runs no more, in the order in which they ended.

    devices: of one trial; see `Resources.devices`.
    """
    ordered = ended(trials)
    done = averaged(trials)
    if not done:
        return [Step(t.number, h, 0.0) for t, h in zip(ordered, _hours(ordered), strict=True)]
    axes = Axes.of(objectives, done)
    held = {t.number: t for t in feasible(constraints, objectives, trials, done)}
    rows = [
        axes.place(outcomes(objectives, [held[t.number]]))[0] if t.number in held else None
        for t in ordered
    ]
    volumes = volumes_of(rows, len(objectives))
    return [
        Step(trial.number, devices * hours, volume)
        for trial, hours, volume in zip(ordered, _hours(ordered), volumes, strict=True)
    ]


def ended(trials: Sequence[Trial]) -> list[Trial]:
    """Those that run no more, in the order in which they ended."""
    return sorted((t for t in trials if t.state is not State.RUNNING), key=_end)


def volumes_of(rows: Sequence[Array | None], objectives: int) -> list[float]:
    """Hypervolume above 0 of the rows up to each; None is a trial that adds nothing."""
    front, volume, volumes = np.zeros((0, objectives)), 0.0, []
    for row in rows:
        if row is not None and (row > 0).all() and not (front >= row).all(axis=1).any():
            front = np.vstack([front, row])
            front = front[non_dominated(front)]
            volume = hypervolume(front, np.zeros(objectives))
        volumes.append(volume)
    return volumes


def _end(trial: Trial) -> tuple[float, int]:
    """A failed trial is told of no time: it counts from its last rung, or from its start."""
    return max(trial.created, *(rung.ended for rung in trial.rungs), 0.0), trial.number


def _hours(ordered: Sequence[Trial]) -> list[float]:
    """Hours of all segments, each told with the end of its trial."""
    return [float(h) for h in np.cumsum([trial.seconds for trial in ordered]) / 3600]
