"""Figures as people read them."""

from collections.abc import Sequence

from autopeft.domain.objective import METRICS, Metric, Objective
from autopeft.domain.results.replicates import confirmed, seeds_told
from autopeft.domain.trial import Trial

_WHOLE = 1e9  # from here on in powers of ten


def amount(metric: Objective | Metric | str, value: float) -> str:
    """A metric's value as people read it: `0.8125`, `73,728`, `1.24 GiB`.

    metric: its name, where it is neither an objective nor declared by the study.
    """
    if isinstance(metric, Objective):
        unit = metric.told_unit
    elif isinstance(metric, Metric):
        unit = metric.unit
    else:
        unit = METRICS[metric].unit if metric in METRICS else ""
    if unit in ("parameters", "bytes"):
        return f"{value:,.0f}"
    suffix = f" {unit}" if unit in ("GiB", "s", "ms", "h", "tokens/s") else ""
    return f"{rounded(value, 4)}{suffix}"


def rounded(value: float, digits: int) -> str:
    """So many digits, or all of a whole number: `0.8125`, `1.5`, `19,000`, `1.2e+12`."""
    whole = 10**digits <= abs(value) < _WHOLE
    return f"{value:,.0f}" if whole else f"{value:.{digits}g}"


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
