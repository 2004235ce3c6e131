"""The price of quality: what the neighbours of a trial on the front give and take.

Neighbours are told by the first objective: the next better one says what more of it would cost, the
next worse one what giving some of it up would save.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autopeft.domain.objective import Objective
from autopeft.domain.results.figures import rounded
from autopeft.domain.trial import Trial


@dataclass(frozen=True)
class Neighbour:
    """A member of the front beside another one.

    better: whether it is the one of more quality. changes: objective -> its value less the
    other's. error: standard error of the first objective's change; 0 where none was told.
    """

    trial: int
    better: bool
    changes: Mapping[str, float]
    error: float


def neighbours(
    objectives: Sequence[Objective], members: Sequence[Trial], chosen: Trial
) -> list[Neighbour]:
    """The next better and the next worse by the first objective, where there are such."""
    first = objectives[0]
    own = first.score(chosen.metrics)
    scored = [(first.score(trial.metrics), trial) for trial in members]
    above = min((s for s in scored if s[0] > own), key=lambda s: s[0], default=None)
    below = max((s for s in scored if s[0] < own), key=lambda s: s[0], default=None)
    return [
        _neighbour(objectives, found[1], chosen, better=found is above)
        for found in (above, below)
        if found is not None
    ]


def prices(
    objectives: Sequence[Objective],
    members: Sequence[Trial],
    chosen: Trial,
    *,
    beyond: Sequence[Trial] = (),
) -> str:
    """Sentences with the prices of the neighbours; "" where there is one objective, or nobody else.

    `0.4 points more accuracy would cost 2.9 GiB of peak_memory_gib (trial 12).`

    beyond: the front without the limits that were asked for, whose price is told where nothing
        within them is better.
    """
    first = objectives[0]
    if len(objectives) < 2 or len({trial.number for trial in (*members, *beyond)}) < 2:
        return ""
    found = neighbours(objectives, members, chosen)
    above = [_sentence(objectives, n) for n in found if n.better]
    if not above:
        further = neighbours(objectives, beyond, chosen)
        above = [f"Beyond the limit, {_sentence(objectives, n)}" for n in further if n.better]
    above = above or [f"Nothing on the front has a better {first.metric}."]
    return " ".join([*above, *(_sentence(objectives, n) for n in found if not n.better)])


def difference(objective: Objective, value: float) -> str:
    """The size of a difference, with its unit: `0.4 points`, `2.9 GiB`, `66,048`."""
    unit, size = objective.told_unit, abs(value)
    if unit == "share":
        return f"{rounded(100 * size, 2)} points"
    if unit in ("parameters", "bytes"):
        return f"{size:,.0f}"
    return f"{rounded(size, 3)}{f' {unit}' if unit else ''}"


def _neighbour(
    objectives: Sequence[Objective], trial: Trial, chosen: Trial, *, better: bool
) -> Neighbour:
    first = objectives[0].metric
    changes = {o.metric: trial.metrics[o.metric] - chosen.metrics[o.metric] for o in objectives}
    error = (trial.stderr.get(first, 0.0) ** 2 + chosen.stderr.get(first, 0.0) ** 2) ** 0.5
    return Neighbour(trial.number, better, changes, error)


def _sentence(objectives: Sequence[Objective], neighbour: Neighbour) -> str:
    first, *others = objectives
    change = difference(first, neighbour.changes[first.metric])
    error = difference(first, neighbour.error).partition(" ")[0]
    error = f" (s.e. {error})" if neighbour.error else ""
    if neighbour.better:
        more = "more" if first.goal == "maximize" else "less"
        opening = f"{change}{error} {more} {first.metric} would"
    else:
        opening = f"Giving up {change}{error} of {first.metric} would"
    dearer: list[str] = []
    saved: list[str] = []
    for other in others:
        by = neighbour.changes[other.metric]
        if by:
            worse = (by > 0) == (other.goal == "minimize")
            (dearer if worse else saved).append(_of(other, by))
    parts = [f"cost {' and '.join(dearer)}"] if dearer else []
    parts += [f"save {' and '.join(saved)}"] if saved else []
    return f"{opening} {' and '.join(parts) or 'change nothing else'} (trial {neighbour.trial})."


def _of(objective: Objective, value: float) -> str:
    text = difference(objective, value)
    return f"{text} {'of ' if ' ' in text else ''}{objective.metric}"
