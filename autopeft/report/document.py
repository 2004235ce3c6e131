"""A study as one JSON document: all that the Pareto explorer shows.

    study, model, head, state, made, objectives, metrics, axes, constraints, budget,
    devices, device, rungs
    trials        one row a trial, in order, those that confirm too once they run; see `_row`
    front, pick   numbers of trials; a configuration with several seeds is its first completed trial
    architectures, names      by key, and the module names that they point to (`architectures`)
    progress, chance          hypervolume by trial and by hour of the search; the random level
    effects                   what mattered, by the surrogate
    maps                      ranks and layer scores that allocation strategies found

Values that are not finite are null. Nothing here is text for a browser: names are the user's own.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from autopeft.domain.networks.describe import describe, flat_params
from autopeft.domain.objective import METRICS, Objective
from autopeft.domain.ports import StudyRecord
from autopeft.domain.results.front import baseline_metrics, best_baselines, front
from autopeft.domain.results.insight import Insight
from autopeft.domain.results.pick import pick
from autopeft.domain.results.progress import progress
from autopeft.domain.results.replicates import averaged, grouped, searched, seeds_told, standing
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.report.architectures import Architectures
from autopeft.report.layer_maps import layer_maps
from autopeft.report.values import axes

FORMAT = 1
Json = Any

_BRANCH = re.compile(r"^(branch|baseline) [^:]*: ")
_DETAIL = re.compile(r" \([^)]*\)|, \+.*$| (of )?trial \d+")


def study_document(
    spec: StudySpec,
    record: StudyRecord,
    trials: Sequence[Trial],
    insight: Insight,
    *,
    head: Sequence[str] = (),
) -> dict[str, Json]:
    """The document.

    head: modules outside the backbone that are trained; `ModelShape.head`.
    """
    objectives, constraints = spec.objectives, spec.constraints
    members = front(objectives, constraints, trials)
    architectures = Architectures(spec.model.get("task_type", ""), head)
    rows = _rows(trials, architectures)
    x, y = axes(objectives)
    steps = progress(objectives, constraints, searched(trials), devices=spec.resources.devices)
    document = {
        "format": FORMAT,
        "study": spec.name,
        "model": str(spec.model.get("model_name_or_path", "")),
        "state": record.state,
        "owner": record.owner,
        "head": list(head),
        "made": time.time(),
        "objectives": [_objective(o) for o in objectives],
        "metrics": _metrics(spec, trials),
        "axes": [None if x is None else x.metric, y.metric],
        "constraints": _constraints(spec, trials),
        "budget": {k: v for k, v in vars(spec.budget).items() if v is not None},
        "devices": spec.resources.devices,
        "device": "GPU" if spec.resources.gpus_per_trial else "CPU",
        "rungs": None if spec.search.rungs is None else asdict(spec.search.rungs),
        "trials": rows,
        "front": [trial.number for trial in members],
        "pick": _pick(spec, trials) if members else None,
        "baselines": {
            name: trial.number for name, trial in best_baselines(objectives, trials).items()
        },
        **architectures.document(),
        "progress": [[s.trial, s.hours, s.hypervolume] for s in steps],
        "chance": asdict(insight.chance),
        "effects": [asdict(effects) for effects in insight.effects],
        "maps": layer_maps(trials, [trial.number for trial in members]),
    }
    found: dict[str, Json] = finite(document)
    return found


def finite(value: Json) -> Json:
    """Plain JSON: null for a number that is not finite, text for what JSON has no type for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def reason(trial: Trial) -> str:
    """The kind of reason that a trial was proposed for: `initial design`, `model-based`, ..."""
    text = _DETAIL.sub("", _BRANCH.sub("", trial.why)).strip()
    return text.split(":")[0] or ("baseline" if trial.baseline else "not told")


def _rows(trials: Sequence[Trial], architectures: Architectures) -> list[dict[str, Json]]:
    found = averaged(trials)
    means = {trial.configuration.key: trial for trial in found}
    still = {trial.number for trial in standing(trials, found)}
    alike = {group[0].configuration.key: group for group in grouped(trials)}
    return [
        _row(trial, means.get(key), alike[key], architectures, stands=trial.number in still)
        for trial in trials
        if trial.state is not State.PLANNED
        for key in [trial.configuration.key]
    ]


def _row(
    trial: Trial,
    mean: Trial | None,
    alike: Sequence[Trial],
    architectures: Architectures,
    *,
    stands: bool,
) -> dict[str, Json]:
    """One trial.

    alike: all trials of its configuration. of: the trial that stands for them, where that is
    another. mean: what it is judged by, where that is not its own result: metrics and standard
    errors over the seeds. stands: whether it may be on the front; `replicates.standing`.
    """
    done, tried = seeds_told(trial, alike)
    configuration = trial.configuration
    first = mean is not None and mean.number == trial.number
    several = mean is not None and (done > 1 or mean.metrics != trial.metrics)
    judged = mean if first and several else None
    return {
        "number": trial.number,
        "name": describe(configuration),
        "branch": configuration.branch,
        "baseline": trial.baseline,
        "state": str(trial.state),
        "seed": trial.seed,
        "seeds": [done, tried],
        "of": None if mean is None or first else mean.number,
        "confirms": trial.confirms,
        "stands": stands,
        "metrics": trial.metrics,
        "stderr": trial.stderr,
        "mean": None if judged is None else {"metrics": judged.metrics, "stderr": judged.stderr},
        "why": trial.why,
        "reason": reason(trial),
        "gain": trial.expected_gain,
        "seconds": trial.seconds,
        "rungs": [[rung.step, rung.metrics] for rung in trial.rungs],
        "failure": None
        if trial.failure is None
        else {"reason": str(trial.failure.reason), "message": trial.failure.message},
        "architecture": architectures.add(trial),
        "recipe": configuration.recipe,
        "parameters": configuration.parameters,
        "fields": {
            name: value
            for name, value in flat_params(configuration).items()
            if name not in configuration.recipe and name != "branch"
        },
    }


def _objective(objective: Objective) -> dict[str, Json]:
    return {
        "metric": objective.metric,
        "goal": objective.goal,
        "scale": objective.scale,
        "known": objective.known,
    }


def _metrics(spec: StudySpec, trials: Sequence[Trial]) -> list[dict[str, Json]]:
    """Every metric that a trial has, objectives first.

    goal: null where nobody named it. least: what stands for 0 on a log scale.
    """
    told = dict.fromkeys(name for trial in trials for name in trial.metrics)
    names = dict.fromkeys([*(objective.metric for objective in spec.objectives), *told])
    declared = {**METRICS, **spec.metrics}
    units = {name: metric.unit for name, metric in declared.items()}
    goals = {name: metric.goal for name, metric in declared.items()}
    goals |= {objective.metric: objective.goal for objective in spec.objectives}
    own = {objective.metric: objective for objective in spec.objectives}
    logs = {objective.metric for objective in spec.objectives if objective.scale == "log"}
    return [
        {
            "name": name,
            "unit": units.get(name, ""),
            "goal": goals.get(name),
            "log": name in logs or units.get(name) in _COUNTED,
            "least": (own.get(name) or Objective(name, "minimize")).least,
        }
        for name in names
    ]


_COUNTED = ("parameters", "bytes")  # they span decades


def _constraints(spec: StudySpec, trials: Sequence[Trial]) -> list[dict[str, Json]]:
    baselines = baseline_metrics(spec.objectives, trials)
    return [
        {"text": c.text, "metric": c.metric, "operator": c.operator, "bound": c.bound(baselines)}
        for c in spec.constraints
    ]


def _pick(spec: StudySpec, trials: Sequence[Trial]) -> dict[str, Json]:
    chosen = pick(spec.objectives, spec.constraints, trials)
    return {"trial": chosen.trial.number, "reason": chosen.reason}
