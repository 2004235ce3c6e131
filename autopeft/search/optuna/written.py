"""All trials of a study as an Optuna storage: what optuna-dashboard and Optuna's own plots read.

A parameter has the name of its variable below its branch (`lora.modules[0].r`), so that conditions
stay conditions; an option that is no number, word or truth value is its JSON. A subset and bits
are a categorical of what was tried.
"""

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autopeft.domain.errors import ExportError
from autopeft.domain.networks.describe import describe
from autopeft.domain.results.front import baseline_metrics
from autopeft.domain.space import Choice, Json, Range, Variable
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_BRANCH = "branch"
_LONGEST = 2000  # characters of a user attribute: a column of text, which MySQL cuts at 2045
_STATES = {
    State.COMPLETED: "COMPLETE",
    State.FAILED: "FAIL",
    State.PAUSED: "PRUNED",
    State.PLANNED: "WAITING",
    State.RUNNING: "RUNNING",
}


def write_storage(path: Path, spec: StudySpec, trials: Sequence[Trial]) -> None:
    """Write a new SQLite file that holds the study under its own name.

    Raises:
        ExportError: the file is there already. OSError: it cannot be written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path.exists():
        raise ExportError(f"export writes a new Optuna storage, {path} is there: name another")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()  # where it cannot be written, an OSError says so
    study = optuna.create_study(
        storage=f"sqlite:///{path.resolve()}",
        study_name=spec.name,
        directions=[objective.goal for objective in spec.objectives],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.metric for objective in spec.objectives])
    study.set_user_attr("exported_by", "autopeft")
    told = [params_of(spec, trial) for trial in trials]
    space = _distributions(spec, told)
    study.add_trials(
        [
            _frozen(spec, trials, trial, params, space)
            for trial, params in zip(trials, told, strict=True)
        ]
    )


def params_of(spec: StudySpec, trial: Trial) -> dict[str, Json]:
    """The variables of a trial's point by name, with the values that they stand for."""
    branches = {branch.name: branch for branch in spec.space.branches}
    branch = branches.get(trial.point.get(_BRANCH, trial.configuration.branch))
    params: dict[str, Json] = {_BRANCH: trial.configuration.branch}
    if branch is None:  # an imported study has no space
        return params
    for parameter in branch.parameters:
        if parameter.name in trial.point:
            value = _meant(parameter.variable, trial.point[parameter.name])
            params[f"{branch.name}.{parameter.name}"] = value
    return params


def _meant(variable: Variable, value: Json) -> Json:
    match variable:
        case Choice():
            return _plain(variable.options[value])
        case Range():
            return value
        case _:
            options = getattr(variable, "options", None) or range(len(value))
            return _plain([o for o, on in zip(options, value, strict=True) if on])


def _plain(value: Json) -> Json:
    """As Optuna stores a category; a tree with variables below it shows them as `...`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, default=lambda _: "...")


def _distributions(
    spec: StudySpec, told: Iterable[Mapping[str, Json]]
) -> dict[str, "BaseDistribution"]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    ranges = {
        f"{branch.name}.{parameter.name}": parameter.variable
        for branch in spec.space.branches
        for parameter in branch.parameters
        if isinstance(parameter.variable, Range)
    }
    seen: dict[str, dict[Json, None]] = {}
    for params in told:
        for name, value in params.items():
            seen.setdefault(name, {})[value] = None
    found: dict[str, BaseDistribution] = {}
    for name, values in seen.items():
        span = ranges.get(name)
        if span is None:
            found[name] = CategoricalDistribution(sorted(values, key=repr))
            continue
        low, high = min(span.low, *values), max(span.high, *values)  # an earlier, wider file
        if span.integer:
            found[name] = IntDistribution(int(low), int(high), log=span.log)
        else:
            found[name] = FloatDistribution(float(low), float(high), log=span.log)
    return found


def _frozen(
    spec: StudySpec,
    trials: Sequence[Trial],
    trial: Trial,
    params: Mapping[str, Json],
    space: Mapping[str, "BaseDistribution"],
) -> Any:
    import optuna

    state = optuna.trial.TrialState[_STATES[trial.state]]
    values = [trial.metrics.get(o.metric, math.nan) for o in spec.objectives]
    complete = state is optuna.trial.TrialState.COMPLETE
    if complete and not all(map(math.isfinite, values)):  # Optuna takes no such value
        state, complete = optuna.trial.TrialState.FAIL, False
    made = optuna.trial.create_trial(
        state=state,
        values=values if complete else None,
        params=dict(params),
        distributions={name: space[name] for name in params},
        user_attrs=_attributes(trial),
        constraints=_constraints(spec, trials, trial) if complete else None,
        intermediate_values=_intermediate(spec, trial),
    )
    made.datetime_start = None if trial.state is State.PLANNED else _time(trial.created)
    if state.is_finished():
        made.datetime_complete = _time(trial.rungs[-1].ended if trial.rungs else trial.created)
    return made


def _attributes(trial: Trial) -> dict[str, Json]:
    """What a trial is and measured, beside its objectives."""
    told: dict[str, Json] = {
        "autopeft_trial": trial.number,
        "configuration": describe(trial.configuration),
        "seed": trial.seed,
        "why": trial.why,
        "baseline": trial.baseline,
        "seconds": trial.seconds,
        **{f"metric {name}": value for name, value in trial.metrics.items()},
        **{f"standard error of {name}": value for name, value in trial.stderr.items()},
    }
    if trial.confirms is not None:
        told["confirms"] = trial.confirms
    if trial.failure is not None:
        told["failure"] = f"{trial.failure.reason}: {trial.failure.message}"
    return {
        name: value[:_LONGEST] if isinstance(value, str) else value
        for name, value in told.items()
        if not (isinstance(value, float) and not math.isfinite(value))
    }


def _constraints(spec: StudySpec, trials: Sequence[Trial], trial: Trial) -> dict[str, float]:
    """Name -> 0 where it holds, else 1: for Optuna what is at most 0 holds."""
    baselines = baseline_metrics(spec.objectives, trials)
    return {c.text: 0.0 if c.holds(trial.metrics, baselines) else 1.0 for c in spec.constraints}


def _intermediate(spec: StudySpec, trial: Trial) -> dict[int, float]:
    """Optimiser step -> the objective at that rung, of a study with one."""
    if len(spec.objectives) > 1:
        return {}
    metric = spec.objectives[0].metric
    return {rung.step: rung.metrics[metric] for rung in trial.rungs if metric in rung.metrics}


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds)
