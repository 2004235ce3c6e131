"""Figures as people read them."""

from collections.abc import Sequence

from autopeft.domain.objective import METRICS
from autopeft.domain.replicates import confirmed, seeds_told
from autopeft.domain.trial import Trial


def amount(metric: str, value: float) -> str:
    """A metric's value as people read it: `0.8125`, `73,728`, `1.24 GiB`."""
    unit = METRICS[metric].unit if metric in METRICS else ""
    if unit in ("parameters", "bytes"):
        return f"{value:,.0f}"
    suffix = f" {unit}" if unit in ("GiB", "s", "ms") else ""
    return f"{value:.4g}{suffix}"


def share(value: float) -> str:
    """A share as people read it: `0.84 %`, `12 %`, `< 0.01 %`."""
    if value < 1e-4:
        return "< 0.01 %"
    return f"{100 * value:{'.0f' if value >= 0.1 else '.2g'}} %"


def seeds(trial: Trial, trials: Sequence[Trial]) -> str:
    """`3 seeds`, or `2 of 3 seeds` where one failed; empty where there is one.

    `5 fresh seeds` of a confirmed configuration.
    """
    done, tried = seeds_told(trial, trials)
    fresh = trial.configuration.key in confirmed(trials)
    if tried == 1 and not fresh:
        return ""
    kind = "fresh seed" if fresh else "seed"
    return f"{done} {kind}s" if done == tried > 1 else f"{done} of {tried} {kind}s"
