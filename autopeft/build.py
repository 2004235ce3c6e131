"""Specifications to objects: the only module that names concrete classes.

Heavy libraries are imported when a function needs them, so that `validate` of a wrong file and
`front` of an old study answer at once.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autopeft import config
from autopeft.domain.architecture import Architecture, Configuration, canonical
from autopeft.domain.counting import known_metrics
from autopeft.domain.errors import AutopeftError, ExportError
from autopeft.domain.estimates import Corpus, Setting, estimates
from autopeft.domain.fit import loads_quantised, refuse_unfit
from autopeft.domain.front import front
from autopeft.domain.model import NO_MODEL, ModelShape
from autopeft.domain.objective import SERVED_BY
from autopeft.domain.own_code import refuse_unreachable
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.ports import Evaluator, Problem, Store, StudyRecord
from autopeft.domain.serving import servable_metrics
from autopeft.domain.space import Point
from autopeft.domain.study import StudySpec
from autopeft.domain.tasks import KINDS
from autopeft.domain.trial import Trial
from autopeft.explorer import explorer_document
from autopeft.home import Home
from autopeft.orchestrator.retention import tidy
from autopeft.orchestrator.session import StudySession
from autopeft.tracking.untracked import Untracked
from autopeft.warm_start import taken_over

if TYPE_CHECKING:
    from peft import PeftConfig

    from autopeft.importing import Source
    from autopeft.tracking.mlflow import MlflowTracker

_SYNC_S = 300

log = logging.getLogger("autopeft")


def open_store(home: Home) -> Store:
    """The store of this home; the folder is made when needed."""
    from autopeft.store import SqlStore

    home.folder.mkdir(parents=True, exist_ok=True)
    return SqlStore(home.store_url)


def bound(spec: StudySpec, source: Path | None = None) -> tuple[StudySpec, ModelShape]:
    """Read the model's shape and check the spec against it.

    source: the file that it came from, for the lines of mistakes.

    Raises:
        SpecError: something that this model cannot take.
        StudyError: the study was imported.
    """
    from autopeft.importing import refuse_imported

    refuse_imported(spec)
    shape = own_shape(spec) if spec.evaluator is not None else _shape(spec)
    return config.bind(spec, shape, source=source), shape


def _shape(spec: StudySpec) -> ModelShape:
    from autopeft.training.data import label_names, load_data
    from autopeft.training.judging import check_judged
    from autopeft.training.model import model_shape

    labels = label_names(spec.data, folder=spec.folder, task=spec.task)
    check_judged(spec, load_data(spec.data, folder=spec.folder, task=spec.task).validation)
    return model_shape(spec.model, folder=spec.folder, num_labels=max(len(labels), 1))


def own_shape(spec: StudySpec) -> ModelShape:
    """The shape of the model that an evaluator's study names, if any."""
    if not spec.model:
        return NO_MODEL
    from autopeft.training.model import model_shape

    labels = int(spec.model.get("num_labels", 2))
    return model_shape(spec.model, folder=spec.folder, num_labels=labels)


def check_own_code(spec: StudySpec) -> None:
    """Whether an evaluator can be imported here and called; nothing where there is none.

    Raises:
        AutopeftError: it cannot; with the traceback of the user's code where that raised.
    """
    if spec.evaluator is not None:
        from autopeft.training.own_function import find_function

        find_function(spec.evaluator, folder=spec.folder)


def problem(spec: StudySpec, shape: ModelShape) -> Problem:
    """What a sampler may know of a bound study."""

    def configure(point: Point) -> Configuration:
        configuration = canonical(
            spec.space.realise(point),
            branch=point["branch"],
            shape=shape,
            training=spec.training,
            defaults=PEFT_DEFAULTS,
        )
        refuse_unfit(
            configuration.architecture,
            shape=shape,
            task_type=spec.model.get("task_type", ""),
            quantized=loads_quantised(spec.model),
        )
        if spec.evaluator is not None:
            refuse_unreachable(configuration.architecture)
        return configuration

    return Problem(
        space=spec.space,
        objectives=spec.objectives,
        constraints=spec.constraints,
        shape=shape,
        configure=configure,
        known=partial(_known, spec, shape),
        estimates=None if spec.evaluator else _estimates(spec, shape),
    )


def _known(spec: StudySpec, shape: ModelShape, architecture: Architecture) -> Mapping[str, float]:
    """What is exact before training, whether it can be served only where that is asked."""
    if spec.evaluator is not None and architecture.frozen:
        return {}  # parameters alone say nothing of what is trained
    found = known_metrics(architecture, shape)
    if spec.asked & {f"servable_{by}" for by in SERVED_BY}:
        quantized = loads_quantised(spec.model)
        return {**found, **servable_metrics(architecture, shape, quantized=quantized)}
    return found


def _estimates(
    spec: StudySpec, shape: ModelShape
) -> Callable[[Configuration], Mapping[str, float]]:
    """The estimates of cost; the data are read when the first is asked for."""
    setting = Setting.of(spec.model, spec.trainer, cuda=spec.resources.gpus_per_trial > 0)

    @cache
    def corpus() -> Corpus:
        from autopeft.training.lengths import corpus_of

        return corpus_of(spec)

    def of(configuration: Configuration) -> Mapping[str, float]:
        return estimates(configuration, shape=shape, corpus=corpus(), setting=setting)

    return of


@dataclass(frozen=True)
class ImportedStudy:
    """trials: how many there are now; notes: what was taken and what was left out."""

    trials: int
    notes: tuple[str, ...]


def import_study(
    store: Store,
    *,
    name: str,
    kind: str,
    source: str,
    model: str | None,
    task: str,
    metrics: Sequence[str],
    optuna_study: str | None,
) -> ImportedStudy:
    """Store what others measured as a study of its own.

    kind: `peft-suite`, `optuna` or `csv`; the rest as `autopeft import` takes it.

    Raises:
        AutopeftError: the source, its metrics or the model cannot be read, or nothing is left.
        StudyError: the name is taken.
    """
    from autopeft.importing import read_source

    found = read_source(kind, source, metrics, partial(_optuna_rows, study=optuna_study))
    trained = model or found.model
    if trained is None:
        raise AutopeftError("import needs the model that was trained, got none: --model FOLDER")
    return _store_import(store, name, found, {"model_name_or_path": trained, "task_type": task})


def _optuna_rows(url: str, *, study: str | None) -> Any:
    from autopeft.search.optuna_storage import read_storage

    return read_storage(url, study)


def _store_import(
    store: Store, name: str, found: "Source", model: Mapping[str, Any]
) -> ImportedStudy:
    from autopeft.importing import document_of, trials_of
    from autopeft.training.model import model_shape

    folder = os.getcwd()
    if not config.is_study_name(name):
        raise AutopeftError(f"a study takes letters, digits, - _ and (not first) ., got {name!r}")
    if model["task_type"] not in KINDS:
        raise AutopeftError(f"--task takes {', '.join(KINDS)}, got {model['task_type']!r}")
    now = time.time()
    shape = model_shape(model, folder=folder, num_labels=2)
    trials, left_out = trials_of(found.results, shape, now=now)
    left_out = [*found.left_out, *left_out]
    if not trials:
        why = f": {left_out[0]}" if left_out else ""
        raise AutopeftError(f"nothing of {found.name} can be imported{why}")
    document = document_of(
        name,
        kind=found.kind,
        source=found.name,
        model=model,
        objectives=found.objectives,
        branches=sorted({trial.configuration.branch for trial in trials}),
        trials=len(trials),
    )
    store.create(StudyRecord(name, document, folder, now, "imported"))
    store.commit(name, trials, [])
    return ImportedStudy(len(trials), (*found.notes, *(f"left out: {t}" for t in left_out)))


def _earlier_problem(spec: StudySpec) -> Problem:
    """The problem of an earlier study; its data may be gone."""
    if spec.evaluator is not None and not spec.model:
        raise AutopeftError("it has no model whose sizes a search could take over")
    from autopeft.training.model import model_shape

    return problem(spec, model_shape(spec.model, folder=spec.folder, num_labels=2))


def make_evaluator(spec: StudySpec, folder: Path) -> Evaluator:
    """The evaluator of one worker process."""
    if spec.evaluator is not None:
        from autopeft.training.own_code import OwnCodeEvaluator

        return OwnCodeEvaluator(spec, own_shape(spec), folder)
    from autopeft.training.evaluator import TrialEvaluator

    return TrialEvaluator(spec, folder)


@dataclass(frozen=True)
class Search:
    """A study that is ready to run.

    run: drive it to its end or until `stop` is set.
    """

    session: StudySession
    spec: StudySpec
    stop: threading.Event
    run: Callable[[], None]


@contextmanager
def open_search(
    spec: StudySpec,
    home: Home,
    store: Store,
    *,
    local: bool = False,
    listeners: Sequence[Callable[[Trial], None]] = (),
    session_class: type[StudySession] = StudySession,
) -> Iterator[Search]:
    """A search over a study that `entry` gave, or with ConfirmSession its confirmation.

    local: run the trials one after another in this process instead of on Ray.
    """
    from autopeft.search import make_sampler

    check_own_code(spec)
    sources = taken_over(spec, store, _earlier_problem)
    spec, shape = bound(spec)
    folder = home.study(spec.name)
    folder.mkdir(parents=True, exist_ok=True)
    session: StudySession

    def keep_house(trial: Trial) -> None:
        if trial.state != "running":
            tidy(spec, session.trials, folder, finished=False)

    session = session_class(
        spec,
        problem=problem(spec, shape),
        store=store,
        sampler=make_sampler(spec.search.sampler, _options(spec), sources),
        clock=time.time,
        listeners=(keep_house, *listeners),
    )
    stop = threading.Event()
    tracker = _tracker(spec, home, store)
    tracker.start()
    try:
        yield Search(session, spec, stop, _driver(session, spec, home, stop, local=local))
    finally:
        session.close()
        if store.study(spec.name).state == "finished":
            tidy(spec, session.trials, folder, finished=True)
        if left := tracker.close(timeout_s=30):
            log.warning("MLflow has not taken %d events yet: `autopeft sync` delivers them", left)


def _options(spec: StudySpec) -> dict[str, Any]:
    """The sampler's options; some size their initial design by the number of trials."""
    known = {"budget": spec.budget.trials} if spec.budget.trials else {}
    sized = spec.search.sampler in ("autopeft", "botorch.AutoPEFT")
    repeats = {"seeds": spec.search.seeds} if spec.search.sampler == "autopeft" else {}
    return {**(known if sized else {}), **spec.search.options, **repeats}


def _driver(
    session: StudySession, spec: StudySpec, home: Home, stop: threading.Event, *, local: bool
) -> Callable[[], None]:
    factory = partial(make_evaluator, spec, home.folder)
    if local:
        from autopeft.orchestrator import local as loop

        return lambda: loop.run(session, factory(), stop=stop)
    from autopeft.orchestrator import ray_tune

    return lambda: ray_tune.run(
        session,
        factory,
        parallel=spec.search.parallel,
        resources=spec.resources,
        folder=home.study(spec.name),
        stop=stop,
    )


def _tracker(spec: StudySpec, home: Home, store: Store) -> "MlflowTracker | Untracked":
    if find_spec("mlflow") is None:
        return Untracked()
    from autopeft.tracking.mlflow import MlflowTracker

    return MlflowTracker(store, spec.name, **_tracking(spec, home, store))


def deliver(spec: StudySpec, home: Home, store: Store) -> int:
    """Deliver to MLflow what it has missed; returns the number of events that are left."""
    from autopeft.tracking.mlflow import deliver as deliver_events

    return deliver_events(store, spec.name, timeout_s=_SYNC_S, **_tracking(spec, home, store))


def _tracking(spec: StudySpec, home: Home, store: Store) -> dict[str, Any]:
    """Where a study is tracked, and what is shown there beside its trials."""
    from autopeft.report.front import front_json
    from autopeft.report.page import explorer_page

    document = study_explorer(spec, store)

    def artifacts() -> dict[str, str]:
        trials = store.history(spec.name)
        members = [t.number for t in front(spec.objectives, spec.constraints, trials)]
        return {
            "front.json": front_json(spec.objectives, trials, members),
            "front.html": explorer_page(document()),
        }

    return {
        "uri": home.mlflow_uri,
        "experiment": os.environ.get("MLFLOW_EXPERIMENT_NAME", spec.name),
        "artifacts": artifacts,
        "artifact_location": home.mlflow_artifacts,
    }


def study_explorer(spec: StudySpec, store: Store) -> Callable[[], dict[str, Any]]:
    """What gives the explorer's document of a study, as the store has it when it is called."""

    def asked() -> tuple[Problem, tuple[str, ...]]:
        checked, shape = bound(spec)
        return problem(checked, shape), shape.head

    return explorer_document(spec, store, asked)


def modelled(spec: StudySpec, trials: Sequence[Trial]) -> list[Trial]:
    """The completed configurations as the search's model believes them to be."""
    from autopeft.search.shrinkage import modelled as believed

    return believed(problem(*bound(spec)), trials)


def _steps(spec: StudySpec, trial: Trial) -> int:
    """Optimiser steps of a trial's full run."""
    from autopeft.training.data import load_data
    from autopeft.training.inject import total_steps

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    return total_steps(trial.configuration.recipe, len(data.train))


def peft_config(spec: StudySpec, shape: ModelShape, trial: Trial) -> "PeftConfig":
    """PEFT's own config object of a trial."""
    from autopeft.export import peft_config as config_of

    if spec.evaluator is not None:
        task_type = spec.model.get("task_type", "")
        # AdaLoRA's schedule alone reads the steps, and an evaluator's study has none.
        return config_of(trial.configuration, shape, task_type=task_type, total_steps=1)
    task_type = spec.model["task_type"]
    steps, ranks = _steps(spec, trial), trial.provenance.get("ranks")
    return config_of(
        trial.configuration, shape, task_type=task_type, total_steps=steps, ranks=ranks
    )


def export_suite(spec: StudySpec, shape: ModelShape, trial: Trial, to: Path) -> tuple[Path, ...]:
    """Write a trial's configuration in the layout of the PEFT comparison suite.

    Raises:
        ExportError: the suite cannot train it, or the experiment is there already.
    """
    from autopeft.export import export_suite as write
    from autopeft.training.model import resolve_model

    if spec.evaluator is not None:
        raise ExportError(
            f"the comparison suite trains by itself, study {spec.name} by code of its own: "
            "leave --to peft-suite out"
        )
    model = resolve_model(spec.model["model_name_or_path"], folder=spec.folder)
    steps = _steps(spec, trial)
    return write(spec, trial, shape=shape, model=model, total_steps=steps, to=to)


def export(
    spec: StudySpec,
    shape: ModelShape,
    trial: Trial,
    adapter: Path,
    to: Path,
    *,
    force: bool = False,
    confirmed: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Write a completed trial as files that need no autopeft.

    confirmed: see `export_trial`.

    Raises:
        ExportError: the trial cannot be exported, or `to` is in use.
    """
    if spec.evaluator is not None:
        from autopeft.export.own_code import export_own

        return export_own(spec, trial, shape=shape, adapter=adapter, to=to, force=force)
    from autopeft.export import Prepared, export_trial
    from autopeft.training.data import load_data
    from autopeft.training.model import load_arguments, processor_arguments, resolve_model
    from autopeft.training.tasks.language import trained_columns

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    prepared = Prepared(
        model=resolve_model(spec.model["model_name_or_path"], folder=spec.folder),
        load_arguments=load_arguments(spec.model, shape.head),
        labels=data.labels,
        splits={
            "train": trained_columns(data.train),
            "validation": trained_columns(data.validation),
        },
        data_fingerprint=data.fingerprint,
        max_length=spec.data.get("max_length", spec.task.max_length),
        max_target_length=spec.data.get("max_target_length", spec.task.max_target_length),
        processor_arguments=processor_arguments(spec.model, folder=spec.folder),
    )
    return export_trial(
        spec,
        trial,
        shape=shape,
        adapter=adapter,
        to=to,
        prepared=prepared,
        force=force,
        confirmed=confirmed,
    )
