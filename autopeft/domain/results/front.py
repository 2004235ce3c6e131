"""The front of a study, and its hypervolume.

Hypervolume is defined here, once: objectives on their declared scale; the reference is the
objective's own where the file gives one, else the worst completed baseline of a measured
objective and the worst trial of a known one; each axis is divided by the distance from there to
the best value seen. So it lies in [0, 1], and says nothing across studies without given references.

Trials of one configuration at several seeds count as one, by their mean (`replicates`); after a
confirmation by that over its fresh seeds, and what it passed over is no longer on the front.
"""

from collections.abc import Sequence

import numpy as np

from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.pareto import Array, hypervolume, non_dominated
from autopeft.domain.results.replicates import (
    averaged,
    confirmed,
    searched,
    standing,
    unconfirmed,
)
from autopeft.domain.trial import Trial


def outcomes(objectives: Sequence[Objective], trials: Sequence[Trial]) -> Array:
    """(n, m) scores of the trials, every column maximised."""
    rows = [[o.score(trial.metrics) for o in objectives] for trial in trials]
    return np.array(rows, dtype=np.float64).reshape(len(trials), len(objectives))


def best_baselines(objectives: Sequence[Objective], trials: Sequence[Trial]) -> dict[str, Trial]:
    """Every baseline's best completed configuration, by the first measured objective; averaged."""
    first = first_measured(objectives)
    best: dict[str, Trial] = {}
    for trial in standing(trials, averaged(trials)):
        name = trial.configuration.branch
        if trial.baseline and (
            name not in best or first.score(trial.metrics) > first.score(best[name].metrics)
        ):
            best[name] = trial
    return best


def first_measured(objectives: Sequence[Objective]) -> Objective:
    """The objective that is called quality: the first measured one, else the first."""
    return next((o for o in objectives if not o.known), objectives[0])


def baseline_metrics(
    objectives: Sequence[Objective], trials: Sequence[Trial]
) -> dict[str, dict[str, float]]:
    """The metrics of every baseline's best completed configuration."""
    return {name: trial.metrics for name, trial in best_baselines(objectives, trials).items()}


def feasible(
    constraints: Sequence[Constraint],
    objectives: Sequence[Objective],
    trials: Sequence[Trial],
    among: Sequence[Trial],
) -> list[Trial]:
    """Those of `among` that hold every constraint; baselines are looked up in `trials`."""
    baselines = baseline_metrics(objectives, trials)
    return [t for t in among if all(c.holds(t.metrics, baselines) for c in constraints)]


def front(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], trials: Sequence[Trial]
) -> tuple[Trial, ...]:
    """The completed, feasible configurations that no other dominates, each as its first trial with
    the mean over its seeds; by the first objective, best first.

    Baselines take part: a baseline that nothing dominates is on the front.
    """
    means = standing(trials, averaged(trials))
    among = feasible(constraints, objectives, trials, means)
    Y = outcomes(objectives, among)
    kept = [trial for trial, on in zip(among, non_dominated(Y), strict=True) if on]
    return tuple(sorted(kept, key=lambda t: -objectives[0].score(t.metrics)))


def fallen(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], trials: Sequence[Trial]
) -> tuple[Trial, ...]:
    """What the search put on the front and a confirmation took off, with the confirmed means."""
    keys = confirmed(trials)
    if not keys or unconfirmed(trials):
        return ()
    there = {trial.number for trial in front(objectives, constraints, trials)}
    was = {trial.number for trial in front(objectives, constraints, searched(trials))}
    return tuple(
        mean
        for mean in averaged(trials)
        if mean.number in was - there and mean.configuration.key in keys
    )


def best_of(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    trials: Sequence[Trial],
    among: Sequence[Trial],
) -> Trial | None:
    """The one of best quality that holds every constraint; None where none does."""
    quality = first_measured(objectives)
    held = feasible(constraints, objectives, trials, among)
    return max(held, key=lambda trial: quality.score(trial.metrics), default=None)


def best_values(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], trials: Sequence[Trial]
) -> dict[str, float]:
    """The best value so far of every measured objective among what holds the constraints.

    `accuracy`; and `accuracy_within_house`, at no higher known cost than the baseline `house` has.
    """
    held = feasible(constraints, objectives, trials, standing(trials, averaged(trials)))
    costs = [objective for objective in objectives if objective.known]
    among = {"": held}
    if costs:
        for name, base in best_baselines(objectives, trials).items():
            among[f"_within_{name}"] = [
                trial
                for trial in held
                if all(cost.score(trial.metrics) >= cost.score(base.metrics) for cost in costs)
            ]
    return {
        o.metric + where: max(some, key=lambda t: o.score(t.metrics)).metrics[o.metric]
        for where, some in among.items()
        for o in objectives
        if some and not o.known
    }


def reference_point(objectives: Sequence[Objective], trials: Sequence[Trial]) -> Array:
    """(m,) the point that hypervolume is measured from; see the module's head.

    trials: completed ones, at least one.
    """
    baselines = [trial for trial in trials if trial.baseline] or list(trials)
    point = []
    for objective in objectives:
        if objective.reference is not None:
            point.append(objective.transform(objective.reference))
        else:
            against = trials if objective.known else baselines
            point.append(min(objective.score(trial.metrics) for trial in against))
    return np.array(point, dtype=np.float64)


def normalised_hypervolume(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], trials: Sequence[Trial]
) -> float:
    """Hypervolume of the front, as defined at the module's head; 0 without a completed trial."""
    done = averaged(trials)
    if not done:
        return 0.0
    reference, there = reference_point(objectives, done), standing(trials, done)
    Y = outcomes(objectives, feasible(constraints, objectives, trials, there))
    best = outcomes(objectives, there or done).max(axis=0)
    span = np.where(best > reference, best - reference, 1.0)
    return hypervolume((Y - reference) / span, np.zeros(len(objectives)))


def hypervolumes(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    studies: Sequence[Sequence[Trial]],
) -> list[float]:
    """The hypervolume of each study's front by one reference and one scale: those of all together.

    The numbers of trials may coincide between studies. 0 for a study without a completed trial.
    """
    done = [averaged(trials) for trials in studies]
    together = [trial for means in done for trial in means]
    if not together:
        return [0.0 for _ in studies]
    fronts = [front(objectives, constraints, trials) for trials in studies]
    reference = reference_point(objectives, together)
    members = [trial for found in fronts for trial in found]
    best = outcomes(objectives, members or together).max(axis=0)
    span = np.where(best > reference, best - reference, 1.0)
    nothing = np.zeros(len(objectives))
    return [hypervolume((outcomes(objectives, f) - reference) / span, nothing) for f in fronts]
