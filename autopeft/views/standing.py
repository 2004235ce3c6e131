"""How far a study is, as values: what the live view draws and `status` prints."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autopeft.domain.budget.savings import saved_hours
from autopeft.domain.results.front import front, normalised_hypervolume
from autopeft.domain.results.replicates import averaged, fresh, searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.orchestrator.confirm_plan import spent
from autopeft.orchestrator.stopping import prospects

_SURE = 3  # ended trials before a time that is left is told


@dataclass(frozen=True)
class Standing:
    """What follows from the trials of a study.

    members: the front; behind: the other configurations that were completed, by their means.
    said: sentences on what is left to gain, and why the search was stopped, where it was.
    hours, saved: device hours spent, and saved by early stopping (None: not known yet).
    searched: the trials of the search. trials: the same, or those that confirm where `confirming`:
        while a confirmation is under way. confirmations: runs that the file's has had.
    """

    trials: tuple[Trial, ...]
    searched: tuple[Trial, ...]
    members: tuple[Trial, ...]
    behind: tuple[Trial, ...]
    hypervolume: float
    said: tuple[str, ...]
    hours: float
    saved: float | None
    confirming: bool = False
    confirmations: int = 0

    @property
    def running(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.state is State.RUNNING]

    @property
    def ended(self) -> list[Trial]:
        return [t for t in self.trials if t.state not in (State.RUNNING, State.PLANNED)]

    @property
    def failed(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.failure is not None]


def standing(
    spec: StudySpec, trials: Sequence[Trial], stopped: str | None, *, confirming: bool = False
) -> Standing:
    """trials: all of the study; stopped: what `stopping.enough` told."""
    own = searched(trials)
    members = front(spec.objectives, spec.constraints, trials)
    numbers = {trial.number for trial in members}
    return Standing(
        trials=tuple(fresh(trials)) if confirming else own,
        searched=own,
        members=members,
        behind=tuple(t for t in averaged(trials) if t.number not in numbers),
        hypervolume=normalised_hypervolume(spec.objectives, spec.constraints, trials),
        said=tuple(prospects(spec, trials, stopped)),
        hours=sum(trial.seconds for trial in trials) * spec.resources.devices / 3600,
        saved=saved_hours(spec, trials),
        confirming=confirming,
        confirmations=spent(spec, trials),
    )


@dataclass(frozen=True)
class Share:
    """A part of the budget: used of limit, both in `unit`."""

    unit: str
    used: float
    limit: float

    @property
    def done(self) -> float:
        return min(1.0, self.used / self.limit) if self.limit else 1.0


def shares(spec: StudySpec, now: Standing, elapsed: float | None) -> list[Share]:
    """What is used of every budget that the study has; of a confirmation the planned runs.

    elapsed: wall seconds of the study; None: not known.
    """
    if now.confirming:
        return [Share("runs", len(now.ended), len(now.trials))]
    budget = spec.budget
    hour = "GPU hours" if spec.resources.gpus_per_trial else "CPU hours"
    found = []
    if budget.trials is not None:
        found.append(Share("trials", len(now.ended) + now.confirmations, budget.trials))
    if budget.gpu_hours is not None:
        found.append(Share(hour, now.hours, budget.gpu_hours))
    if budget.wall_hours is not None and elapsed is not None:
        found.append(Share("hours", elapsed / 3600, budget.wall_hours))
    return found


def seconds_left(
    spec: StudySpec, now: Standing, elapsed: float, *, ended: int, since: float
) -> float | None:
    """About how long it goes on; None while too little has ended to tell, and at the end.

    ended: trials that ended in the last `since` seconds: the pace.
    """
    left = []
    for share in shares(spec, now, elapsed):
        if share.done == 1:
            return None
        if share.unit == "hours":
            left.append(3600 * (share.limit - share.used))
        elif share.used > 0 and ended >= _SURE and since > 0:
            pace = ended / since if share.unit in ("trials", "runs") else share.used / elapsed
            left.append((share.limit - share.used) / pace)
    return max(0.0, min(left)) if left else None


def failures(trials: Sequence[Trial]) -> list[tuple[str, list[Trial]]]:
    """The failed trials by reason, the commonest first."""
    failed = [(str(t.failure.reason), t) for t in trials if t.failure is not None]
    counted = Counter(reason for reason, _ in failed)
    return [(name, [t for r, t in failed if r == name]) for name, _ in counted.most_common()]


def stop_text(spec: StudySpec, trial: Trial) -> str:
    """Where a running trial is going: `1/3 to epoch 2`, or `to its end`."""
    stops = spec.stops_of(trial)
    stop = stops[min(trial.next_rung, len(stops) - 1)]
    if stop.epochs is not None:
        to = f"to epoch {stop.epochs:g}"
    else:
        to = "to its end" if stop.steps is None else f"to step {stop.steps}"
    return f"{trial.next_rung + 1}/{len(stops)} {to}" if len(stops) > 1 else to


def usual_seconds(spec: StudySpec, trials: Sequence[Trial], trial: Trial) -> float | None:
    """How long the rung that a trial runs took others, in the median; None: nobody was there."""
    took = sorted(
        rung.seconds
        for other in trials
        for rung in other.rungs
        if rung.index == trial.next_rung and len(spec.stops_of(other)) == len(spec.stops_of(trial))
    )
    return took[len(took) // 2] if took else None
