"""A made-up study for the explorer: a search over the landscape of `tests/search`, with everything
that a page has to show: rungs, failures, several seeds, ranks and scores, and a hostile name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from search.landscape import (
    SPACE,
    baseline_trial,
    failed,
    make_problem,
    random_trials,
    started,
    told,
)

from autopeft.domain.objective import Constraint
from autopeft.domain.ports import StudyRecord
from autopeft.domain.study import Budget, Resources, Rungs, SearchSettings, StudySpec
from autopeft.domain.trial import Trial
from autopeft.report.document import study_document
from autopeft.search.insight.insights import Insights

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
CONSTRAINTS = ("train_seconds <= 100",)


def explored_spec(name: str = "films", constraints: Sequence[str] = CONSTRAINTS) -> StudySpec:
    problem = make_problem()
    return StudySpec(
        name=name,
        model={"model_name_or_path": "fake/bert", "task_type": "SEQ_CLS"},
        trainer="transformers.Trainer",
        data={},
        training={"num_train_epochs": 3},
        space=SPACE,
        objectives=problem.objectives,
        constraints=tuple(Constraint.parse(text) for text in constraints),
        budget=Budget(trials=60),
        resources=Resources(),
        search=SearchSettings(sampler="random", rungs=Rungs("epochs", (1.0,), eta=2.0), seeds=2),
        document={"study": name},
    )


def explored_trials(count: int = 60, seed: int = 0) -> list[Trial]:
    """Random trials: every third was stopped early, a few failed, one ran at two seeds."""
    problem = make_problem()
    rng = np.random.default_rng(seed)
    trials = [baseline_trial(problem, 0, 5e-5)]
    for trial in random_trials(problem, count - 2, seed):
        number = len(trials)
        why = (
            "initial design (1 of 8)" if number < 9 else "model-based, +0.8 % hypervolume expected"
        )
        begun = replace(trial, number=number, why=f"branch {trial.configuration.branch}: {why}")
        noise = 0.01 * float(rng.normal())
        first = told(begun, noise=noise, share=0.34)
        if number % 17 == 5:
            trials.append(failed(begun))
        elif number % 3 == 2:
            trials.append(first)
        else:
            trials.append(_ended(told(first.promoted(), noise=noise)))
    again = next(t for t in trials if t.state == "completed" and not t.baseline)
    trials.append(replace(again, number=len(trials), seed=1, why="branch lora: another seed"))
    return [_timed(trial, at) for at, trial in enumerate(trials)]


def _ended(trial: Trial) -> Trial:
    """With both rungs in their places."""
    first, last = trial.rungs
    return replace(trial, rungs=(first, replace(last, index=1)))


def _timed(trial: Trial, at: int) -> Trial:
    rungs = tuple(
        replace(rung, seconds=40.0, started=100.0 * at, ended=100.0 * at + 50 * (i + 1))
        for i, rung in enumerate(trial.rungs)
    )
    provenance = {"total_steps": 100, "device": "cpu"}
    return replace(trial, rungs=rungs, created=100.0 * at, provenance=provenance)


def with_maps(trials: Sequence[Trial]) -> list[Trial]:
    """The same, with three trials of AdaLoRA and one of IST added."""
    problem, found = make_problem(), list(trials)
    rng = np.random.default_rng(3)
    for name in ("adalora", "adalora", "adalora", "ist"):
        bits = (1, 1, 1, 1, 1, 1)
        point = {
            "branch": "lora",
            "modules[0].r": 3,
            "modules[0].target_modules": 1,
            "layers.bits": bits,
            "training.learning_rate": float(10 ** rng.uniform(-4, -2.5)),
        }
        trial = told(started(problem, len(found), point), noise=0.01 * float(rng.normal()))
        architecture = replace(trial.configuration.architecture, allocation=(name, {}))
        (module,) = architecture.modules
        notes: Mapping[str, Any] = (
            {"layer_scores": {str(layer): 0.1 * (3 - layer) for layer in range(6)}}
            if name == "ist"
            else {"ranks": {t: int(rng.integers(0, 13)) for t in module.targets}}
        )
        configuration = replace(trial.configuration, architecture=architecture)
        timed = _timed(replace(trial, configuration=configuration), len(found))
        why = "branch lora: best of its size (every 3th trial)"
        provenance = {**timed.provenance, **notes}
        found.append(replace(timed, why=why, provenance=provenance))
    return found


def hostile(trials: Sequence[Trial]) -> list[Trial]:
    """The same, with markup wherever a user's own words can stand."""
    *others, last = trials
    recipe = {**last.configuration.recipe, "optim": EVIL, EVIL: 1}
    configuration = replace(last.configuration, branch=EVIL, recipe=recipe)
    last = replace(last, configuration=configuration, why=f"branch x: {EVIL}")
    others = [
        trial
        if trial.failure is None
        else replace(trial, failure=replace(trial.failure, message=EVIL, details=EVIL))
        for trial in others
    ]
    return [*others, last]


def explored_document(
    spec: StudySpec | None = None, trials: Sequence[Trial] | None = None, *, state: str = "finished"
) -> dict[str, Any]:
    spec = explored_spec() if spec is None else spec
    trials = explored_trials() if trials is None else trials
    record = StudyRecord(spec.name, spec.document, ".", 0.0, state)
    insight = Insights(make_problem(SPACE))(trials)
    return study_document(spec, record, trials, insight)
