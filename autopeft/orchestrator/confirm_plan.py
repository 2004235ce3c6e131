"""The confirmation of a front: its members and the baselines, trained again at fresh seeds.

A confirmation is an even square: every party at every seed, seed after seed. So one that is cut
short still compares like with like, and what is paired has the same seed. The parties are chosen
by what the search measured; from then on the search's own values count no more (`replicates`).
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autopeft.domain.pareto import epsilon_net
from autopeft.domain.results.front import best_baselines, first_measured, front, outcomes
from autopeft.domain.results.replicates import fresh, searched
from autopeft.domain.study import Confirm, StudySpec
from autopeft.domain.trial import State, Trial

_FRESH = 1000
"""How far above the search's first seed the fresh ones begin: `search.seeds` never gets there."""


def parties(spec: StudySpec, trials: Sequence[Trial]) -> list[Trial]:
    """What there is to confirm: the best of each baseline, then the rest of the search's front.

    The rest is in an order whose every beginning is spread along it, from its best quality on: what
    stands next to a baseline is what the search is compared by, so baselines keep nothing away.
    """
    own = searched(trials)
    baselines = list(best_baselines(spec.objectives, own).values())
    there = {trial.number for trial in baselines}
    members = front(spec.objectives, spec.constraints, own)
    return [*baselines, *_spread(spec, [t for t in members if t.number not in there])]


def _spread(spec: StudySpec, members: Sequence[Trial]) -> list[Trial]:
    if not members:
        return []
    Y = outcomes(spec.objectives, members)
    low, high = Y.min(axis=0), Y.max(axis=0)
    unit = (Y - low) / np.where(high > low, high - low, 1.0)
    quality = spec.objectives.index(first_measured(spec.objectives))
    return [members[i] for i in epsilon_net(unit, int(np.argmax(Y[:, quality])))]


def seeds_of(spec: StudySpec, count: int, trials: Sequence[Trial]) -> list[int]:
    """Seeds that the search has not used; the same ones on every call."""
    used = {trial.seed for trial in searched(trials)}
    free = (seed for seed in itertools.count(spec.search.seed + _FRESH) if seed not in used)
    return list(itertools.islice(free, count))


def planned(
    spec: StudySpec, confirm: Confirm, trials: Sequence[Trial], *, now: float
) -> list[Trial]:
    """The runs that a confirmation still needs, none of which is in `trials`; by seed.

    One that failed for no fault of its configuration is needed again.
    """
    among = parties(spec, trials)
    if confirm.trials is not None:
        among = among[: confirm.trials // confirm.seeds]
    there = _there(trials)
    number = max((trial.number for trial in trials), default=-1) + 1
    found: list[Trial] = []
    for seed in seeds_of(spec, confirm.seeds, trials):
        for trial in sorted(among, key=lambda t: t.number):
            if (trial.configuration.key, seed) not in there:
                found.append(
                    Trial(
                        number=number + len(found),
                        configuration=trial.configuration,
                        seed=seed,
                        point=trial.point,
                        known=trial.known,
                        why=f"confirms trial {trial.number}",
                        baseline=trial.baseline,
                        state=State.PLANNED,
                        created=now,
                        confirms=trial.number,
                    )
                )
    return found


def _there(trials: Sequence[Trial]) -> set[tuple[str, int]]:
    """The configurations and seeds that need not run again."""
    return {
        (trial.configuration.key, trial.seed)
        for trial in fresh(trials)
        if trial.failure is None or trial.failure.teaches
    }


def _square(among: Sequence[Trial], seeds: Sequence[int]) -> set[tuple[str, int]]:
    return {(trial.configuration.key, seed) for trial in among for seed in seeds}


def most(spec: StudySpec) -> int | None:
    """The trials that the file's confirmation takes at most; None: no limit.

    Unless the file says it, a third of `budget.trials`, and what the baselines and one member take.
    """
    confirm, limit = spec.confirm, spec.budget.trials
    if confirm is None or confirm.trials is not None or limit is None:
        return None if confirm is None else confirm.trials
    return max(limit // 3, confirm.least(len(spec.space.baselines)))


def spent(spec: StudySpec, trials: Sequence[Trial]) -> int:
    """The trials that the confirmation of the file has had, also of who has left the front since.

    What someone asked for at further seeds is not the budget's.
    """
    if spec.confirm is None:
        return 0
    seeds = seeds_of(spec, spec.confirm.seeds, trials)
    return sum(trial.seed in seeds for trial in fresh(trials))


def reserved(spec: StudySpec, trials: Sequence[Trial]) -> int:
    """The trials that the search leaves to what the confirmation of its file still needs.

    All that the front and the baselines of now would take, and what the front would if every
    running trial joined it, and one that is yet to start.
    """
    if spec.confirm is None:
        return 0
    own = searched(trials)
    growing = 1 + sum(trial.state is State.RUNNING for trial in own)
    # A baseline stands on the front with others than its best, too.
    best = {trial.number for trial in best_baselines(spec.objectives, own).values()}
    members = [t for t in front(spec.objectives, spec.constraints, own) if t.number not in best]
    needed = spec.confirm.seeds * (len(members) + growing + len(spec.space.baselines))
    top = most(spec)
    seeds = seeds_of(spec, spec.confirm.seeds, trials)
    had = _square(parties(spec, trials), seeds) & _there(trials) if fresh(trials) else ()
    return max(0, (needed if top is None else min(needed, top)) - len(had))


def settings(spec: StudySpec, trials: Sequence[Trial]) -> Confirm | None:
    """The file's confirmation, with the trials that are left to it; None where it has none."""
    if spec.confirm is None:
        return None
    limits = [limit for limit in (most(spec),) if limit is not None]
    if spec.budget.trials is not None:
        among, seeds = parties(spec, trials), seeds_of(spec, spec.confirm.seeds, trials)
        left = spec.budget.trials - len(searched(trials)) - spent(spec, trials)
        there = _there(trials)
        fits = [
            count
            for count in range(1, len(among) + 1)
            if len(_square(among[:count], seeds) - there) <= left
        ]
        limits.append(max(fits, default=0) * len(seeds))
    return replace(spec.confirm, trials=min(limits) if limits else None)
