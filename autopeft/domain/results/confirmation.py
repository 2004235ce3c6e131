"""What a confirmation says of every party: means, how sure they are, and who stays on the front.

k: fresh seeds of a party; x: (k,) its values of one metric at them. All parties have the same
seeds, so a difference between two of them is taken seed by seed.

mean          of x; its standard error as of every mean over seeds (`replicates`): what the rows of
              the split leave open, and what the seeds do. Interval: 1.96 of them to each side;
              where no standard error is told, Student's over the seeds, and none of one seed.
difference    of two parties, seed by seed: mean, and Student's interval of k - 1 degrees of
              freedom. Both are measured on the same rows; what other rows would say is not in it.
on_front      the share of joint draws in which nothing feasible dominates the party. A draw takes
              k seeds with replacement, the same ones for all parties (Efron 1979), with deviations
              widened by sqrt(k / (k - 1)), and adds what the rows leave open, normal and for every
              party apart; constraints and the baselines that they name are drawn with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.pareto import Array, non_dominated
from autopeft.domain.results.front import first_measured
from autopeft.domain.results.intervals import Z95, t95
from autopeft.domain.results.replicates import averaged, completed, fresh, searched, seed_factor
from autopeft.domain.trial import Trial

Verdict = Literal["holds", "open", "does not hold"]
_DRAWS = 1000
UNLIKELY = 0.05
"""The probability to be on the front below which a party does not hold."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, or a difference of two, with its 95 % interval."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Against:
    """How much better a party's quality is than another's, seed by seed; None: no pair of seeds.

    On the scale of the metric itself, positive where the party is better.
    """

    name: str
    trial: int
    validation: Estimate | None
    test: Estimate | None


@dataclass(frozen=True)
class Party:
    """One configuration that was confirmed.

    trial: of the search, with what that measured. failed: fresh seeds at which it did not train.
    on_front: its probability.
    """

    trial: Trial
    seeds: int
    failed: int
    validation: Mapping[str, Estimate]
    test: Mapping[str, Estimate]
    on_front: float
    verdict: Verdict
    against: tuple[Against, ...]


def parties(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    trials: Sequence[Trial],
    *,
    controls: Mapping[str, Sequence[Trial]] | None = None,
) -> list[Party]:
    """Every configuration with a fresh seed that has ended, best quality first.

    controls: name -> the fresh trials of another study's best configuration, to compare with too.
    """
    # A confirmation that has not ended is shown as far as it is.
    trials = [trial for trial in trials if trial.rungs or trial.failure]
    by_number = {trial.number: trial for trial in searched(trials)}
    runs: dict[int, list[Trial]] = {number: [] for number in by_number}
    tried: dict[int, set[int]] = {number: set() for number in by_number}
    for trial in fresh(trials):
        assert trial.confirms is not None
        tried[trial.confirms].add(trial.seed)
        runs[trial.confirms] += completed([trial])
    numbers = [n for n in by_number if tried[n]]
    chances = _chances(objectives, constraints, trials, {n: runs[n] for n in numbers if runs[n]})
    on_validation, on_test = _means(trials), _means(tested(trials))
    quality = first_measured(objectives)
    others: dict[str, tuple[int, Sequence[Trial]]] = {
        by_number[n].configuration.branch: (n, runs[n])
        for n in _best(quality, [n for n in numbers if by_number[n].baseline], on_validation)
    }
    others |= {name: (again[0].confirms or 0, again) for name, again in (controls or {}).items()}
    found = [
        Party(
            trial=by_number[n],
            seeds=len(runs[n]),
            failed=len(tried[n]) - len(runs[n]),
            validation=on_validation.get(n, {}),
            test=on_test.get(n, {}),
            on_front=chances.get(n, 0.0),
            verdict=_verdict(chances.get(n, 0.0)),
            against=tuple(
                Against(
                    name,
                    number,
                    difference(quality, runs[n], again),
                    difference(quality, tested(runs[n]), tested(again)),
                )
                for name, (number, again) in others.items()
                if again is not runs[n]
            ),
        )
        for n in numbers
    ]
    return sorted(found, key=lambda p: -_quality(quality, p.validation))


def tested(trials: Sequence[Trial]) -> list[Trial]:
    """The trials, those that confirm with what they measured on the test split for validation."""
    return [_tested(t) if t.rungs and t.confirms is not None else t for t in trials]


def _tested(trial: Trial) -> Trial:
    rung = trial.rungs[-1]
    return replace(trial, rungs=(replace(rung, metrics=rung.test, stderr=rung.test_stderr),))


def difference(
    objective: Objective, mine: Sequence[Trial], other: Sequence[Trial]
) -> Estimate | None:
    """By how much mine are better than the others at the same seeds; None without such a pair."""
    sign = 1 if objective.goal == "maximize" else -1
    values, others = _by_seed(objective.metric, mine), _by_seed(objective.metric, other)
    pairs = [sign * (values[seed] - others[seed]) for seed in values if seed in others]
    return _around(float(np.mean(pairs)), _students(pairs), len(pairs)) if pairs else None


def _by_seed(metric: str, trials: Sequence[Trial]) -> dict[int, float]:
    told = [trial for trial in trials if trial.rungs and metric in trial.rungs[-1].metrics]
    return {trial.seed: trial.rungs[-1].metrics[metric] for trial in told}


def _means(trials: Sequence[Trial]) -> dict[int, dict[str, Estimate]]:
    """By the number of the search's trial: every measured metric over its fresh seeds."""
    done = {t.configuration.key for t in fresh(completed(trials))}
    found = {}
    for mean in averaged(trials):
        if mean.configuration.key not in done:
            continue
        again = fresh(completed(trials))
        runs = [t for t in again if t.configuration.key == mean.configuration.key]
        rung, halves = mean.rungs[-1], dict[str, float]()
        for name in rung.metrics:
            values = list(_by_seed(name, runs).values())
            told = rung.stderr.get(name)
            halves[name] = _students(values) if told is None else Z95 * told
        found[mean.number] = {
            name: _around(value, halves[name], len(runs)) for name, value in rung.metrics.items()
        }
    return found


def _students(values: Sequence[float]) -> float:
    """Half of Student's 95 % interval of a mean; infinite of one value."""
    if len(values) < 2:
        return float("inf")
    return t95(len(values) - 1) * float(np.std(values, ddof=1)) / sqrt(len(values))


def _around(mean: float, half: float, seeds: int) -> Estimate:
    return Estimate(mean, mean - half, mean + half, seeds)


def _quality(objective: Objective, estimates: Mapping[str, Estimate]) -> float:
    found = estimates.get(objective.metric)
    return -float("inf") if found is None else objective.transform(found.mean)


def _best(
    objective: Objective, numbers: Sequence[int], means: Mapping[int, Mapping[str, Estimate]]
) -> list[int]:
    """The numbers, worst first: a later one of a baseline stands for it."""
    return sorted(numbers, key=lambda n: _quality(objective, means.get(n, {})))


def _verdict(chance: float) -> Verdict:
    if chance < UNLIKELY:
        return "does not hold"
    return "holds" if chance >= 0.5 else "open"


def _chances(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    trials: Sequence[Trial],
    runs: Mapping[int, Sequence[Trial]],
) -> dict[int, float]:
    """The probability of each to be on the front of them all."""
    if not runs:
        return {}
    rng = np.random.default_rng(0)
    seeds = sorted({trial.seed for again in runs.values() for trial in again})
    counts = rng.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), size=_DRAWS)
    metrics = {o.metric for o in objectives} | {c.metric for c in constraints}
    metrics |= {c.baseline_metric for c in constraints if c.baseline_metric}
    factors = {metric: seed_factor(trials, metric) for metric in metrics}
    drawn = {
        number: {
            metric: _draws(metric, again, seeds, counts, factors[metric], rng)
            for metric in sorted(metrics)
            if metric in again[0].metrics
        }
        for number, again in runs.items()
    }
    kept = dict.fromkeys(runs, 0)
    for i in range(_DRAWS):
        now = {n: {m: float(values[i]) for m, values in drawn[n].items()} for n in runs}
        for number in _on_front(objectives, constraints, runs, now):
            kept[number] += 1
    return {number: count / _DRAWS for number, count in kept.items()}


def _draws(
    metric: str,
    again: Sequence[Trial],
    seeds: Sequence[int],
    counts: NDArray[np.int64],
    factor: float,
    rng: np.random.Generator,
) -> Array:
    """(draws,) means of a metric over seeds that are drawn.

    counts: (draws, seeds) how often each seed is drawn. factor: `replicates.seed_factor`.
    """
    told = [t.stderr[metric] ** 2 for t in again if metric in t.stderr]
    usual = sum(told) / len(told) if told else 0.0
    rows = sqrt(max(usual - usual * factor, 0.0))
    by_seed = {trial.seed: trial.metrics[metric] for trial in again}
    there = [i for i, seed in enumerate(seeds) if seed in by_seed]
    x = np.array([by_seed[seeds[i]] for i in there])
    k, weights = len(x), counts[:, there]
    noise = rng.standard_normal((2, len(counts)))
    if k == 1:
        return np.asarray(x[0] + rows * noise[0] + sqrt(usual * factor) * noise[1])
    total = np.maximum(weights.sum(axis=1), 1)
    wide = (weights @ (x - x.mean())) / total * sqrt(k / (k - 1))
    return np.asarray(x.mean() + wide + rows * noise[0])


def _on_front(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    runs: Mapping[int, Sequence[Trial]],
    now: Mapping[int, Mapping[str, float]],
) -> list[int]:
    quality = first_measured(objectives)
    baselines: dict[str, Mapping[str, float]] = {}
    for number, metrics in now.items():
        first = runs[number][0]
        best = baselines.get(first.configuration.branch)
        if first.baseline and (best is None or _score(quality, metrics) > _score(quality, best)):
            baselines[first.configuration.branch] = metrics
    held = [n for n, m in now.items() if all(c.holds(m, baselines) for c in constraints)]
    if not held:
        return []
    Y = np.array([[_score(o, now[n]) for o in objectives] for n in held])
    return [n for n, on in zip(held, non_dominated(Y), strict=True) if on]


def _score(objective: Objective, metrics: Mapping[str, float]) -> float:
    """A draw may leave a log scale's domain, where a value never does."""
    value = metrics[objective.metric]
    return objective.transform(max(value, 0.0) if objective.scale == "log" else value)
