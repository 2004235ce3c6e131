"""What is tried next: the baseline whose turn it is, or what the sampler finds in the space.

A proposal is always new: a configuration that was not tried, or a seed that it was not tried at.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autopeft.domain.architecture import Configuration, fingerprint
from autopeft.domain.budget.baselines import own_problem
from autopeft.domain.ports import Problem, Sampler, Suggestion
from autopeft.domain.results.figures import share
from autopeft.domain.space import Point
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial

_SUGGESTIONS = 8  # tries of the sampler before a random draw
DRAWS = 2000  # random draws before the space counts as exhausted
_BASELINE_TRIALS = 6  # per baseline, where the budget does not count trials


@dataclass(frozen=True)
class Proposal:
    """A configuration and a seed that are ready to become a trial.

    gain, left: as `expected_` in a trial.
    """

    point: Point
    configuration: Configuration
    seed: int
    known: Mapping[str, float]
    why: str
    gain: float | None
    left: float | None
    baseline: bool

    def trial(self, number: int, *, created: float) -> Trial:
        """created: now, in seconds since the epoch."""
        return Trial(
            number=number,
            configuration=self.configuration,
            seed=self.seed,
            point=self.point,
            known=self.known,
            why=self.why,
            expected_gain=self.gain,
            expected_left=self.left,
            baseline=self.baseline,
            created=created,
        )


def baseline_due(
    spec: StudySpec, trials: Collection[Trial], *, exhausted: Collection[str]
) -> str | None:
    """The baseline whose turn it is; None: the search itself.

    Every baseline gets as many configurations as a branch would trials if all shared the budget
    equally, spread evenly over it. Its replicates are the search's.

    exhausted: the baselines that have nothing left to try.
    """
    limit = spec.budget.trials
    parties = len(spec.space.branches)
    quota = _BASELINE_TRIALS if limit is None else max(1, limit // parties)
    for branch in spec.space.baselines:
        if branch.name in exhausted:
            continue
        own = len({t.configuration.key for t in trials if t.configuration.branch == branch.name})
        if own < quota and own * parties <= len(trials):
            return branch.name
    return None


def propose(
    problem: Problem,
    history: Sequence[Trial],
    *,
    sampler: Sampler,
    baseline: str | None,
    seed: int,
    seeds: int = 1,
) -> Proposal | None:
    """A new configuration of a baseline, or of the branches to search; None: they are used up.

    baseline: its name; None: the search itself.
    seed: of the study. seeds: how many a configuration may have.
    """
    if baseline is not None:
        problem = own_problem(problem, baseline)
    else:
        names = [branch.name for branch in problem.space.searched]
        problem = replace(problem, space=problem.space.only(*names))
    evaluated = {trial.configuration.key for trial in history}
    drawn = int(fingerprint([seed, len(history)])[:8], 16)

    def proposal(found: Suggestion) -> Proposal | None:
        if baseline is not None:  # what it gains, it gains over itself
            found = replace(found, gain=None, left=None)
        if found.again is not None:
            return _again(found, history, seed=seed, seeds=seeds)
        configuration = problem.admissible(found.point)
        if configuration is None or configuration.key in evaluated:
            return None
        known = problem.known(configuration.architecture)
        return _ready(found, configuration, known, seed=seed, baseline=baseline is not None)

    for attempt in range(_SUGGESTIONS):
        suggestion = sampler.suggest(problem, history, seed=drawn + attempt)
        if (found := proposal(suggestion)) is not None:
            return found
        if not any(branch.parameters for branch in problem.space.branches):
            break
    rng = np.random.default_rng(drawn)
    for _ in range(DRAWS):
        why = "random: the sampler proposed what was evaluated already"
        if (found := proposal(Suggestion(problem.space.draw(rng), why))) is not None:
            return found
    return None


def _again(
    found: Suggestion, history: Sequence[Trial], *, seed: int, seeds: int
) -> Proposal | None:
    """A trial's configuration at its next seed; None: it has had them all, or there is no such
    trial."""
    trial = next((trial for trial in history if trial.number == found.again), None)
    if trial is None:
        return None
    used = {t.seed for t in history if t.configuration.key == trial.configuration.key}
    following = next((s for s in range(seed, seed + seeds) if s not in used), None)
    if following is None:
        return None
    return _ready(found, trial.configuration, trial.known, seed=following, baseline=trial.baseline)


def _ready(
    found: Suggestion,
    configuration: Configuration,
    known: Mapping[str, float],
    *,
    seed: int,
    baseline: bool,
) -> Proposal:
    return Proposal(
        found.point,
        configuration,
        seed,
        known,
        why=_line(found, baseline),
        gain=found.gain,
        left=found.left,
        baseline=baseline,
    )


def _line(found: Suggestion, baseline: bool) -> str:
    """Why a trial was proposed: `branch lora: model-based, +0.8 % hypervolume expected of 5 %`."""
    promise = ""
    if found.gain is not None:
        promise = f", +{share(found.gain)} hypervolume expected"
        promise += "" if found.left is None else f" of {share(found.left)} left"
    return f"{'baseline' if baseline else 'branch'} {found.point['branch']}: {found.why}{promise}"
