"""Whether another seed of what was tried is worth more than something new.

The front that a study hands over is chosen by observed means: a lucky configuration stands on it
and hides a better one. What is lost is hypervolume, as is what a new configuration gains, so both
are measured alike, by looking ahead (replication against exploration: Binois 2019, arXiv
1710.03206).
For configuration i

    KG(i) = max over n of 1/n E[HV(f of the front with n more seeds of i) - HV(f of the front)]

where f are joint posterior draws at everything completed, and n new observations are drawn from f
with the noise of a trial. That is a knowledge gradient (Frazier 2008, "A knowledge-gradient policy
for sequential information collection") for the decision that the product makes, by observed means.
The maximum is KG(*) of Frazier and Powell 2010, "Paradoxes in learning and the marginal value of
information": one seed alone often cannot change the front where two can.

Scores are on `scale.Scale`, the reference at 0. m: configurations, the cheapest first; S: draws.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.ports import Problem
from autopeft.domain.results.front import feasible
from autopeft.domain.results.replicates import averaged, completed, grouped
from autopeft.domain.trial import State, Trial
from autopeft.search.gain.closed_form import Model
from autopeft.search.model.encoding import Array

_DRAWS = 128
_FEWEST = 4  # replicates that weigh as much as what is told: `replicates._PRIOR_WEIGHT`


@dataclass(frozen=True)
class Choice:
    """The configuration whose next seed is worth most, by its first trial, and log KG.

    gain: minus infinity where nothing is expected of it.
    """

    trial: Trial
    gain: float


def best(
    problem: Problem,
    history: Sequence[Trial],
    model: Model,
    *,
    seeds: int,
    seed: int,
) -> Choice | None:
    """What to repeat; None where nothing may be.

    seeds: that a configuration may have.
    """
    members = feasible(problem.constraints, problem.objectives, history, averaged(history))
    if len(members) < 2:
        return None
    cost = model.cost([trial.configuration for trial in members])
    order = np.argsort(-cost, kind="stable")
    members, cost = [members[i] for i in order], np.maximum(cost[order], 0.0)
    rows = model.view.rows([trial.configuration for trial in members])
    shown = model.observed(members)
    told = Counter(trial.configuration.key for trial in completed(history))
    counts = np.array([told[trial.configuration.key] for trial in members])
    rng = np.random.default_rng(seed)
    drawn = model.surrogate.draws(rows, _DRAWS, rng).values
    mean, _ = model.surrogate.predict(rows)
    normal = rng.standard_normal(len(drawn))
    undecided = _chosen(shown[None])[0] | _chosen(mean[None])[0]
    left = np.where(undecided, _left(members, history, seeds), 0)
    before = _volume(drawn, _chosen(shown[None]), cost)
    gains = np.full(len(members), -np.inf)
    for i in np.flatnonzero(left):
        for more in range(1, left[i] + 1):
            new = drawn[:, i] + model.deviation / more**0.5 * normal
            seen = np.repeat(shown[None], _DRAWS, axis=0)
            seen[:, i] = (counts[i] * shown[i] + more * new) / (counts[i] + more)
            gain = np.mean(_volume(drawn, _chosen(seen), cost) - before)
            gains[i] = max(gains[i], gain / more)
    chosen = int(np.argmax(gains))
    if not left[chosen]:
        return None
    gain = gains[chosen]
    return Choice(members[chosen], float(np.log(gain)) if gain > 0 else -np.inf)


def unlearned(history: Sequence[Trial]) -> bool:
    """Whether too few replicates were started to know the noise.

    Told standard errors may be far from it, either way (benchmarks/README.md, "Replicated seeds"),
    and where they promise too much, nothing ever looks undecided.
    """
    return len(history) - len(grouped(history)) < _FEWEST


def _left(members: Sequence[Trial], history: Sequence[Trial], seeds: int) -> NDArray[np.intp]:
    """(m,) seeds that may still be asked for; none while one runs."""
    tried = Counter(trial.configuration.key for trial in history)
    running = {t.configuration.key for t in history if t.state is State.RUNNING}
    keys = [trial.configuration.key for trial in members]
    return np.array([0 if key in running else max(0, seeds - tried[key]) for key in keys])


def _chosen(shown: Array) -> NDArray[np.bool_]:
    """(S, m) who is on the front of (S, m) observed scores: better than all that is cheaper."""
    ahead = np.maximum.accumulate(shown, axis=1)
    return np.hstack([np.ones((len(shown), 1), bool), shown[:, 1:] > ahead[:, :-1]])


def _volume(f: Array, on: NDArray[np.bool_], cost: Array) -> Array:
    """(S,) hypervolume of those that are on, by their true scores."""
    heights = np.maximum.accumulate(np.where(on, np.maximum(f, 0.0), 0.0), axis=1)
    return np.asarray(heights @ (cost - np.append(cost[1:], 0.0)))
