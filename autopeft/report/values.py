"""Measured values as text: with their interval, their unit and their direction."""

import math

from autopeft.domain.objective import METRICS, Objective
from autopeft.domain.trial import Trial

Z95 = 1.96
"""Standard errors to each side of a 95 % interval."""


def measured(objective: Objective, trial: Trial) -> str:
    """A value, and half the width of its 95 % interval where it has one: `0.85 ± 0.02`."""
    value = trial.metrics.get(objective.metric)
    if value is None:
        return "–"
    stderr = trial.stderr.get(objective.metric)
    return _number(value) + (f" ± {Z95 * stderr:.2g}" if stderr else "")


def unit(metric: str) -> str:
    """The unit of a metric; empty for those that a study declares itself."""
    return METRICS[metric].unit if metric in METRICS else ""


def axis_title(objective: Objective) -> str:
    """`adapter_params [parameters], less is better`."""
    better = "more is better" if objective.goal == "maximize" else "less is better"
    of = objective.unit or unit(objective.metric)
    return f"{objective.metric}{f' [{of}]' if of else ''}, {better}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
