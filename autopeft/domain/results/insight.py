"""What a model of a study says to people: which choices paid, and what chance would have reached.

Values only; `autopeft.search.insight.effects` and `autopeft.search.insight.chance` compute them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autopeft.domain.objective import Objective


@dataclass(frozen=True)
class Effect:
    """How a level of a factor changes a metric, all else as it comes.

    scope: the branch that the factor belongs to; "": the choice of the branch.
    level: `on` is one that is told against being off.
    change, low, high: the expected change against the mean over all levels of the factor, and its
        95 % interval; in the metric's unit, or as a share of its value where `relative`.
    """

    scope: str
    factor: str
    level: str
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class Effects:
    """What mattered for one measured objective.

    left_out_error: squared error of the trials, each predicted from the others, over that of their
        mean: 0 is perfect, from 1 on the model knows nothing, and there are no effects.
    silent: why there are none; "" where there are.
    """

    metric: str
    relative: bool = False
    left_out_error: float | None = None
    effects: tuple[Effect, ...] = ()
    silent: str = ""


@dataclass(frozen=True)
class Level:
    """Hypervolume that a random search would have reached, on the scale of
    `autopeft.domain.results.progress`.

    at: trials told. mean, low, high: at each, over draws; low and high hold 80 % of them.
    seconds: of one random trial, trained to its end.
    silent: why there is no level; "" where there is.
    """

    at: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    seconds: float = 0.0
    silent: str = ""


@dataclass(frozen=True)
class Insight:
    """All that a model says of a study."""

    effects: tuple[Effects, ...]
    chance: Level


def mute(objectives: Sequence[Objective], why: str) -> Insight:
    """Of a study whose model cannot be asked."""
    effects = [Effects(o.metric, silent=why) for o in objectives if not o.known]
    return Insight(tuple(effects), Level(silent=why))
