"""A study that runs: its session, sampler, workers, store and tracker."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autopeft.artifacts import Artifacts, DistantEvaluator, sweep
from autopeft.builders.places import claimed
from autopeft.builders.problems import bound, check_own_code, earlier_problem, own_shape, problem
from autopeft.builders.tracked import tracker_of
from autopeft.domain.errors import AutopeftError
from autopeft.domain.model import ModelShape
from autopeft.domain.ports import Evaluator, Store
from autopeft.domain.space import Space
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.home import Home
from autopeft.metrics import DriverMetrics, driver_metrics
from autopeft.orchestrator.housekeeping import DistantHousekeeper, LocalHousekeeper
from autopeft.orchestrator.lease import Lease
from autopeft.orchestrator.session import StudySession
from autopeft.parcel import on_worker, refuse_absent, sent
from autopeft.warm_start import lacking, taken_over

log = logging.getLogger("autopeft")


def open_store(home: Home) -> Store:
    """The store of this home; the folder is made when needed."""
    from autopeft.store import SqlStore

    home.folder.mkdir(parents=True, exist_ok=True)
    return SqlStore(home.store_url)


def store_remarks(spec: StudySpec, home: Home) -> list[str]:
    """What `search` would refuse here: earlier studies that the store of this home lacks."""
    try:
        return lacking(spec, open_store(home)) if spec.search.warm_start else []
    except AutopeftError as error:  # a store that cannot be reached
        return [str(error)]


def make_evaluator(spec: StudySpec, folder: Path) -> Evaluator:
    """The evaluator of one worker process."""
    spec = replace(spec, folder=on_worker(spec.folder))
    if spec.evaluator is not None:
        from autopeft.training.own_code import OwnCodeEvaluator

        return OwnCodeEvaluator(spec, own_shape(spec), folder)
    if spec.resources.processes_per_trial > 1:
        from autopeft.training.group import GroupEvaluator

        return GroupEvaluator(spec, folder)
    from autopeft.training.evaluator import TrialEvaluator

    return TrialEvaluator(spec, folder)


def make_distant(spec: StudySpec, url: str) -> Evaluator:
    """The evaluator of one worker process, where the study's files lie at a URL."""
    return DistantEvaluator(partial(make_evaluator, spec), url, spec.name)


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

    Raises:
        StudyError: another driver searches the study.
        ArtifactError: AUTOPEFT_ARTIFACTS names no place that can be used.
    """
    stop = threading.Event()
    with (
        Lease(store, spec.name, stop).hold() as leased,
        driver_metrics(spec, store) as metrics,
        _open(spec, home, leased, stop, local, listeners, session_class, metrics) as found,
    ):
        yield found


@contextmanager
def _open(
    spec: StudySpec,
    home: Home,
    store: Store,
    stop: threading.Event,
    local: bool,
    listeners: Sequence[Callable[[Trial], None]],
    session_class: type[StudySession],
    metrics: DriverMetrics | None,
) -> Iterator[Search]:
    from autopeft.search import make_sampler

    refuse_absent(spec)
    check_own_code(spec)
    sources = taken_over(spec, store, earlier_problem)
    spec, shape = bound(spec)
    folder = home.study(spec.name)
    folder.mkdir(parents=True, exist_ok=True)
    session: StudySession

    def keep_house(trial: Trial) -> None:
        house.heard(trial)

    session = session_class(
        spec,
        problem=problem(spec, shape),
        store=store,
        sampler=make_sampler(spec.search.sampler, sampler_options(spec), sources),
        clock=time.time,
        listeners=(keep_house, *listeners),
        **({} if metrics is None else {"suggested": metrics.suggested}),
    )
    artifacts = claimed(spec, home, store, begun=bool(session.trials), local=local)
    if metrics is not None:
        metrics.watch(lambda: session.trials)
    house = _housekeeper(session, spec, folder, artifacts)
    house.start()
    tracker = tracker_of(spec, home, store)
    tracker.start()
    patience_s = 30.0
    try:
        drive: Callable[[], None] = _nothing
        if not session.finished:
            drive = _driver(session, spec, home, stop, store, metrics, artifacts, local=local)
        yield Search(session, spec, stop, drive)
    except KeyboardInterrupt:
        patience_s = 0.0  # who interrupts twice does not wait: the outbox keeps what is left
        raise
    finally:
        session.close()
        finished = store.study(spec.name).state == "finished"
        house.close(finished=finished, timeout_s=patience_s)
        if artifacts is not None:
            sweep()  # of workers that were ended on this machine
        if left := tracker.close(timeout_s=patience_s):
            log.warning(
                "MLflow has not taken %d events yet: `autopeft sync %s` delivers them",
                left,
                spec.name,
            )


def _housekeeper(
    session: StudySession, spec: StudySpec, folder: Path, artifacts: Artifacts | None
) -> DistantHousekeeper | LocalHousekeeper:
    def trials() -> Sequence[Trial]:
        return session.trials

    if artifacts is not None:
        return DistantHousekeeper(spec, artifacts, trials)
    return LocalHousekeeper(spec, folder, trials, lambda: session.kept)


def check_sampler(spec: StudySpec, shape: ModelShape) -> None:
    """Whether the study's sampler takes its options, and this space; spec: bound to the shape.

    Raises:
        AutopeftError: it does not.
    """
    from autopeft.search import make_sampler

    sampler = make_sampler(spec.search.sampler, sampler_options(spec))
    if spec.search.sampler.startswith("optuna."):  # some find out when they are asked
        offered = replace(problem(spec, shape), space=Space(spec.space.searched))
        sampler.suggest(offered, (), seed=0)


def sampler_options(spec: StudySpec) -> dict[str, Any]:
    """The sampler's options; some size their initial design by the number of trials."""
    known = {"budget": spec.budget.trials} if spec.budget.trials else {}
    sized = spec.search.sampler in ("autopeft", "botorch.AutoPEFT")
    repeats = {"seeds": spec.search.seeds} if spec.search.sampler == "autopeft" else {}
    return {**(known if sized else {}), **spec.search.options, **repeats}


def _nothing() -> None:
    """What is left of a study that has ended: to show it takes neither Ray nor a model."""


def _driver(
    session: StudySession,
    spec: StudySpec,
    home: Home,
    stop: threading.Event,
    store: Store,
    metrics: DriverMetrics | None,
    artifacts: Artifacts | None,
    *,
    local: bool,
) -> Callable[[], None]:
    factory = partial(make_evaluator, spec, home.folder)
    if artifacts is not None:
        factory = partial(make_distant, spec, artifacts.url)
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
        store=store,
        **({} if metrics is None else {"shared": metrics.shared}),
        files=sent(spec.folder),
    )
