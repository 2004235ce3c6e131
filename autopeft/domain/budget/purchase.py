"""What a budget buys, before anything ran: from the estimated time of a trial.

Every branch and every baseline is taken to get as many trials as the others, which the baselines
do and the branches of a search do not; and of the trials that reach a rung the best 1/eta to go on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autopeft.domain.study import Rungs, StudySpec


@dataclass(frozen=True)
class Purchase:
    """What is bought. trials: None where there is nothing to estimate their number from.

    ends_by: the limit of the budget that is reached first. baselines, confirming: of the trials.
    finished: of the search's trials, those that no rung stops.
    work_hours: of all trials, one after another; wall_hours: `parallel` at a time.
    device_hours: GPU hours, CPU hours where trials have no GPU. cost: by the price of such an hour.
    """

    trials: int | None
    ends_by: str
    baselines: int | None
    confirming: int | None
    finished: int | None
    work_hours: float | None
    wall_hours: float | None
    device_hours: float | None
    cost: float | None


def share_of_run(rungs: Rungs | None, *, steps: float, epochs: float) -> float:
    """The share of its full run that a trial takes when only the best go on from each rung.

    steps, epochs: of the full run.
    """
    if rungs is None:
        return 1.0
    full = epochs if rungs.unit == "epochs" else steps
    before = [at / full for at in rungs.at if at < full]
    ends = [*before, 1.0]
    return sum(
        (b - a) / rungs.eta**i for i, (a, b) in enumerate(zip([0, *ends], ends, strict=False))
    )


def purchase(
    spec: StudySpec, seconds: Sequence[float] | None, full: Sequence[float] | None = None
) -> Purchase:
    """seconds: of a trial of each branch and baseline, rungs counted; None: nobody knows.

    full: of their complete runs, which a confirmation's are; None: the same.
    """
    budget, resources, parallel = spec.budget, spec.resources, spec.search.parallel
    each = sum(seconds) / len(seconds) if seconds else None
    whole = sum(full) / len(full) if full else each
    confirming = _confirming(spec)
    limits: dict[str, float] = {}
    if budget.trials is not None:
        limits["trials"] = budget.trials
    if each and whole:
        if budget.gpu_hours is not None:
            room = 3600 * budget.gpu_hours / resources.devices
            limits["gpu_hours"] = _fit(room, each, whole, confirming)
        if budget.wall_hours is not None:
            room = 3600 * budget.wall_hours * parallel
            limits["wall_hours"] = _fit(room, each, whole, confirming)
    ends_by = min(limits, key=lambda name: limits[name]) if limits else ""
    trials = max(1, math.floor(limits[ends_by])) if limits else None
    parties = len(spec.space.branches)
    of_baselines = finished = None
    if trials is not None:
        left = max(trials - (confirming or 0), 0)
        of_baselines = len(spec.space.baselines) * max(1, left // parties)
        finished = max(1, round(left / _narrowing(spec)))
    work = wall = None
    if each and whole and trials is not None:
        to_confirm = min(confirming or 0, trials)
        work = (each * (trials - to_confirm) + whole * to_confirm) / 3600
        wall = work * math.ceil(trials / parallel) / trials  # the last ones have idle company
    device = None if work is None else work * resources.devices
    price = resources.price_per_hour
    return Purchase(
        trials=trials,
        ends_by=ends_by,
        baselines=of_baselines,
        confirming=confirming,
        finished=finished,
        work_hours=work,
        wall_hours=wall,
        device_hours=device,
        cost=None if device is None or price is None else device * price,
    )


def _confirming(spec: StudySpec) -> int | None:
    """Trials that a confirmation takes at least: one member of the front, and every baseline."""
    if spec.confirm is None:
        return None
    least = spec.confirm.least(len(spec.space.baselines))
    return least if spec.confirm.trials is None else min(least, spec.confirm.trials)


def _fit(room: float, each: float, whole: float, confirming: int | None) -> float:
    """The trials that so many seconds are enough for; what confirms them comes first."""
    to_confirm = confirming or 0
    left = room - whole * to_confirm
    return to_confirm + left / each if left > 0 else room / whole


def _narrowing(spec: StudySpec) -> float:
    """Of how many trials one gets past all rungs."""
    rungs = spec.search.rungs
    if rungs is None:
        return 1.0
    epochs, steps = spec.training.get("num_train_epochs", 3.0), spec.training.get("max_steps", -1)
    overruled = not isinstance(steps, int | float) or steps > 0
    known = rungs.unit == "epochs" and not overruled and isinstance(epochs, int | float)
    return float(rungs.eta ** len([at for at in rungs.at if not known or at < epochs]))
