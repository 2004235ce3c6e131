"""Replicates: the trials of one configuration at different seeds, and what they say together.

A configuration is judged by the mean over its completed trials, and stands as the first of them:
that choice looks at no result, so it adds no luck, and the trial whose adapter is kept stays the
same when another seed is told. Without replicates everything here gives back what it was given.

Once a configuration is confirmed (all the fresh seeds that were planned for it have ended), it is
judged by the mean over those alone: the search's own seeds are why it was chosen.

Told standard errors come from the validation rows. They are blind to what another seed of training
changes, and the rows are the same for every seed. With s2 the told variance of one trial and v the
variance between seeds, the mean of k trials has the variance

    max(s2 - v, 0) + v / k

where the first part is what the rows leave open, and more seeds do not close. v is a multiple of
s2, the same for all configurations, estimated from all replicates and shrunk towards 1 (the
posterior mean under a scaled inverse chi-square prior; Smyth 2004, "Linear models and empirical
Bayes methods", section 3, does the same for many small samples).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from autopeft.domain.trial import State, Trial

_PRIOR_WEIGHT = 4.0  # of the told variance, in degrees of freedom


def completed(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.state is State.COMPLETED]


def grouped(trials: Iterable[Trial]) -> list[list[Trial]]:
    """The trials of every configuration together, in the order of the first of each."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.configuration.key, []).append(trial)
    return list(groups.values())


def searched(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The trials of the search, without those that confirm."""
    return tuple(trial for trial in trials if trial.confirms is None)


def fresh(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The trials that confirm others."""
    return tuple(trial for trial in trials if trial.confirms is not None)


def unconfirmed(trials: Iterable[Trial]) -> frozenset[str]:
    """Keys of the configurations whose confirmation is planned and has not ended."""
    return frozenset(
        trial.configuration.key
        for trial in fresh(trials)
        if trial.state in (State.PLANNED, State.RUNNING)
    )


def confirmed(trials: Sequence[Trial]) -> frozenset[str]:
    """Keys of the configurations that are confirmed: one fresh seed at least was completed."""
    done = {trial.configuration.key for trial in fresh(completed(trials))}
    return frozenset(done) - unconfirmed(trials)


def standing(trials: Sequence[Trial], means: Sequence[Trial]) -> list[Trial]:
    """Of the means, those that may stand on a front.

    As long as a confirmation has not ended, or where there was none, all. After it what it did not
    confirm stays behind: a single run's luck would beat an honest mean. What was tried, or ended,
    after the last confirmation is not judged yet, and stays in.
    """
    again = fresh(trials)
    if not again or unconfirmed(trials):
        return list(means)
    last, keys = max(trial.number for trial in again), confirmed(trials)
    then = max(trial.created for trial in again)
    return [
        mean
        for mean in means
        if mean.number > last or mean.rungs[-1].ended > then or mean.configuration.key in keys
    ]


def averaged(trials: Sequence[Trial]) -> list[Trial]:
    """Every completed configuration once, as its first completed trial with the mean result.

    A trial without replicates is the very trial that was given. Of trials with replicates the last
    rung holds the mean of every metric that all of them have, and the standard error of that mean.
    """
    groups = _judged(trials)
    factor = cache(partial(_factor, [group.judges for group in groups]))
    return [
        group.first if group.judges == [group.first] else _mean(group, factor) for group in groups
    ]


@dataclass(frozen=True)
class _Group:
    """A configuration: the trial that it stands as, and those whose mean it is judged by."""

    first: Trial
    judges: list[Trial]


def _judged(trials: Sequence[Trial]) -> list[_Group]:
    done, keys = completed(trials), confirmed(trials)
    again = {group[0].configuration.key: group for group in grouped(fresh(done))}
    return [
        _Group(own[0], again[key] if (key := own[0].configuration.key) in keys else own)
        for own in grouped(searched(done))
    ]


def merged(trials: Sequence[Trial]) -> list[Trial]:
    """`averaged`, and of every configuration that was never completed its trials as they are."""
    done = {trial.configuration.key: trial for trial in averaged(trials)}
    found = []
    for trial in trials:
        mean = done.get(trial.configuration.key)
        if mean is None:
            found.append(trial)
        elif mean.number == trial.number:
            found.append(mean)
    return found


def seeds_told(trial: Trial, trials: Sequence[Trial]) -> tuple[int, int]:
    """Completed trials that a trial's configuration is judged by, and those with its failures.

    A configuration that does not train at every seed is not what its mean alone says.
    """
    alike = [t for t in trials if t.configuration.key == trial.configuration.key]
    judges = fresh if trial.configuration.key in confirmed(alike) else searched
    alike = list(judges(alike))
    done = len(completed(alike))
    return done, done + sum(t.failure is not None and t.failure.teaches for t in alike)


def seed_factor(trials: Sequence[Trial], metric: str) -> float:
    """The variance between seeds over the told variance of a metric; 1 without replicates."""
    return _factor([group.judges for group in _judged(trials)], metric)


def _factor(groups: Sequence[Sequence[Trial]], metric: str) -> float:
    squares, freedom = _PRIOR_WEIGHT, _PRIOR_WEIGHT
    for group in groups:
        rungs = [t.rungs[-1] for t in group if metric in t.rungs[-1].metrics]
        told = [r.stderr[metric] for r in rungs if r.stderr.get(metric)]
        if len(rungs) < 2 or not told:
            continue
        values = [rung.metrics[metric] for rung in rungs]
        mean = sum(values) / len(values)
        usual = sum(error**2 for error in told) / len(told)
        squares += sum((value - mean) ** 2 for value in values) / usual
        freedom += len(values) - 1
    return squares / freedom


def _mean(group: _Group, factor: Callable[[str], float]) -> Trial:
    """factor: of the variance between seeds, by metric."""
    first, count = group.first, len(group.judges)
    rungs = [trial.rungs[-1] for trial in group.judges]
    names = [name for name in rungs[0].metrics if all(name in rung.metrics for rung in rungs)]
    stderr = {}
    for name in names:
        told = [rung.stderr[name] ** 2 for rung in rungs if name in rung.stderr]
        if told:
            usual = sum(told) / len(told)
            between = usual * factor(name)
            stderr[name] = (max(usual - between, 0.0) + between / count) ** 0.5
    mean = replace(
        first.rungs[-1],
        metrics={name: sum(rung.metrics[name] for rung in rungs) / count for name in names},
        stderr=stderr,
    )
    return replace(first, rungs=(*first.rungs[:-1], mean))
