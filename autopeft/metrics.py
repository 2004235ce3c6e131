"""What Prometheus asks for: a driver tells of its study, the explorer of all studies of its store.

    autopeft_study_info{study, namespace, owner, state}    1
    autopeft_trials{study, namespace, state}               trials of the search and of confirmations
    autopeft_failures_total{study, namespace, reason}
    autopeft_hypervolume, autopeft_front_size              as `autopeft status` tells them
    autopeft_device_seconds_total{..., device="gpu|cpu"}   of all trials
    autopeft_budget_trials                                 where the budget has trials
    autopeft_suggestion_seconds, autopeft_share            of a driver alone: a histogram, and how
                                                           many trials may run at once

A driver comes and goes, so it counts what the store has: its totals go on where they were. All of
prometheus_client is here.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Store, StudyRecord
from autopeft.domain.results.front import front, normalised_hypervolume
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import FailureReason, State, Trial
from autopeft.namespaces import namespace_of
from autopeft.records import spec_of
from autopeft.report.access import LOOPBACK, check_token, given_token, same

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4"
FRESH_S, FINISHED_S = 10.0, 300.0
"""How long the explorer's numbers of a study are shown again before they are read: of any, and of
one that is finished, which a confirmation alone may change before its record says so."""

_LABELS = ("study", "namespace")
_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)  # seconds; a first proposal takes 10 ms

log = logging.getLogger("autopeft")


@dataclass(frozen=True)
class Numbers:
    """Of a study at one moment. device_seconds: of all its trials."""

    record: StudyRecord
    trials: dict[str, int]
    failures: dict[str, int]
    hypervolume: float
    front: int
    device: str
    device_seconds: float
    budget: int | None


def numbers(spec: StudySpec, record: StudyRecord, trials: Sequence[Trial]) -> Numbers:
    reasons = [trial.failure.reason for trial in trials if trial.failure is not None]
    states = [trial.state for trial in trials]
    return Numbers(
        record,
        trials={str(state): states.count(state) for state in State},
        failures={str(reason): reasons.count(reason) for reason in FailureReason},
        hypervolume=normalised_hypervolume(spec.objectives, spec.constraints, trials),
        front=len(front(spec.objectives, spec.constraints, trials)),
        device="gpu" if spec.resources.gpus_per_trial else "cpu",
        device_seconds=sum(trial.seconds for trial in trials) * spec.resources.devices,
        budget=spec.budget.trials,
    )


class StoreMetrics:
    """The numbers of all studies of a store, read again where they may have changed.

    Threads: `text` may be called from any. A study that cannot be read has its
    `autopeft_study_info` alone.

    Raises:
        AutopeftError: prometheus_client is not installed.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        check_installed()
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[StudyRecord, float, Numbers | None]] = {}

    def text(self) -> bytes:
        """Raises:
        StudyError: the store cannot be read.
        """
        with self._lock:
            for record in self._store.studies():
                self._keep(record)
            return exposition((record, told) for record, _, told in self._kept.values())

    def _keep(self, record: StudyRecord) -> None:
        before, read, _ = self._kept.get(record.name, (None, 0.0, None))
        if before == record:
            resting = record.state in ("finished", "imported")
            if self._clock() - read < (FINISHED_S if resting else FRESH_S):
                return
        told = None
        try:
            told = numbers(spec_of(record), record, self._store.history(record.name))
        except AutopeftError as error:
            log.warning("the metrics of study %s cannot be told: %s", record.name, error)
        self._kept[record.name] = record, self._clock(), told


class DriverMetrics:
    """The numbers of the study that this process searches.

    Raises:
        AutopeftError: prometheus_client is not installed.
    """

    def __init__(self, spec: StudySpec, record: StudyRecord) -> None:
        check_installed()
        from prometheus_client import CollectorRegistry, Gauge, Histogram

        self._spec, self._record = spec, replace(record, state="running")
        self._trials: Callable[[], Sequence[Trial]] = tuple
        self._registry = CollectorRegistry()
        self._suggestions = Histogram(
            "autopeft_suggestion_seconds",
            "How long the search thought of a proposal.",
            _LABELS,
            registry=self._registry,
            buckets=_BUCKETS,
        ).labels(*_labels(record))
        self._share = Gauge(
            "autopeft_share",
            "Trials that may run at once; fewer where others search on the same cluster.",
            _LABELS,
            registry=self._registry,
        ).labels(*_labels(record))
        self.shared(spec.search.parallel)
        self._told: tuple[Sequence[Trial], Numbers] | None = None

    def watch(self, trials: Callable[[], Sequence[Trial]]) -> None:
        """trials: gives those of the study, as they are; the same object while none changed."""
        self._trials = trials

    def suggested(self, seconds: float) -> None:
        self._suggestions.observe(seconds)

    def shared(self, trials: int) -> None:
        """trials: as many as may run at once from now on."""
        self._share.set(trials)

    def text(self) -> bytes:
        from prometheus_client import generate_latest

        trials = self._trials()
        if self._told is None or self._told[0] is not trials:
            self._told = trials, numbers(self._spec, self._record, trials)
        return exposition([(self._record, self._told[1])]) + generate_latest(self._registry)


@contextmanager
def driver_metrics(spec: StudySpec, store: Store) -> Iterator[DriverMetrics | None]:
    """Serve a driver's metrics where AUTOPEFT_METRICS_PORT asks for it; None: it does not.

    Raises:
        AutopeftError: the port is no port, prometheus_client is missing, or whoever reaches
            AUTOPEFT_METRICS_HOST would see them without a token.
    """
    if not (asked := os.environ.get("AUTOPEFT_METRICS_PORT", "")):
        yield None
        return
    if not asked.isdecimal() or not 0 < int(asked) < 2**16:
        raise AutopeftError(
            f"AUTOPEFT_METRICS_PORT takes a port from 1 to 65535, got {asked!r}: name one, or "
            "unset it to serve no metrics"
        )
    host = os.environ.get("AUTOPEFT_METRICS_HOST") or "127.0.0.1"
    token = os.environ.get("AUTOPEFT_UI_TOKEN", "")
    check_token("AUTOPEFT_METRICS_HOST", host, token)
    told = DriverMetrics(spec, store.study(spec.name))
    try:
        server = ThreadingHTTPServer((host, int(asked)), _handler(told.text, token))
    except OSError as error:
        # A second search on this machine is no worse for it; the explorer tells of both.
        log.warning(
            "the metrics of study %s are not served, the search goes on: %s:%s: %s. Give each "
            "driver of a machine its own AUTOPEFT_METRICS_PORT, or ask `autopeft ui` for /metrics",
            *(spec.name, host, asked, error.strerror),
        )
        yield told
        return
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()


def check_installed() -> None:
    """Raises:
    AutopeftError: prometheus_client is not there.
    """
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise AutopeftError(
            "metrics need prometheus_client, got an environment without it: "
            "pip install 'autopeft[service]'"
        ) from error


def exposition(studies: Iterable[tuple[StudyRecord, Numbers | None]]) -> bytes:
    """The text that Prometheus reads."""
    from prometheus_client import CollectorRegistry, generate_latest

    found = list(studies)

    class Told:
        def collect(self) -> "Iterator[Metric]":
            return _families(found)

    registry = CollectorRegistry()
    registry.register(Told())
    return generate_latest(registry)


def _families(studies: Sequence[tuple[StudyRecord, Numbers | None]]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    def gauge(name: str, said: str, *more: str) -> Any:
        return GaugeMetricFamily(f"autopeft_{name}", said, labels=(*_LABELS, *more))

    def counter(name: str, said: str, *more: str) -> Any:
        return CounterMetricFamily(f"autopeft_{name}", said, labels=(*_LABELS, *more))

    info = gauge("study_info", "Studies, by owner and state.", "owner", "state")
    trials = gauge("trials", "Trials by state, those that confirm others too.", "state")
    failures = counter("failures", "Failed trials by reason.", "reason")
    volume = gauge("hypervolume", "Normalised hypervolume of the front.")
    size = gauge("front_size", "Configurations on the front.")
    spent = counter("device_seconds", "Seconds of GPUs, or CPUs without them.", "device")
    budget = gauge("budget_trials", "Trials that the budget allows.")
    for record, told in studies:
        labels = _labels(record)
        info.add_metric((*labels, record.owner or "", record.state), 1)
        if told is None:
            continue
        for state, count in told.trials.items():
            trials.add_metric((*labels, state), count)
        for reason, count in told.failures.items():
            failures.add_metric((*labels, reason), count)
        volume.add_metric(labels, told.hypervolume)
        size.add_metric(labels, told.front)
        spent.add_metric((*labels, told.device), told.device_seconds)
        if told.budget is not None:
            budget.add_metric(labels, told.budget)
    yield from (info, trials, failures, volume, size, spent, budget)


def _labels(record: StudyRecord) -> tuple[str, str]:
    """study: the whole name."""
    return record.name, namespace_of(record.name)


def _handler(text: Callable[[], bytes], token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "autopeft"
        sys_version = ""

        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if not token and host not in LOOPBACK:
                self._send(403, b"only as 127.0.0.1 or localhost\n")
            elif token and not same(token, given_token(self.path, self.headers)[0]):
                self._send(401, b"a token is needed: Authorization: Bearer ...\n")
            elif urlsplit(self.path).path != "/metrics":
                self._send(404, b"there is no such page: /metrics\n")
            else:
                self._send(200, text())

        def _send(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", f"{CONTENT_TYPE}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: stderr is for people."""

    return Handler
