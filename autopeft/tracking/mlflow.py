"""The outbox of a study to MLflow, in a thread that the search never waits for.

The driver commits events with its results; the thread takes them in order and ticks off what is
written. A server that is slow or away costs the search nothing: the thread backs off and tries
again, and what is left when the driver ends is delivered by the next one, or by `deliver`.
"""

import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from autopeft.domain.ports import Event, Store
from autopeft.tracking.runs import StudyRuns
from autopeft.tracking.shown import Shown

Show = Callable[[], Shown]
"""Gives what is to be seen beside the numbers, as the study stands."""

_log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 10
PUBLISH_EVERY_S = 10.0
LONGEST_WAIT_S = 30.0
_BATCH = 50
_MANY = 1_000_000

_GONE = {"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
_REFUSED = {*_GONE, "INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE"}


class MlflowTracker:
    """Delivers the events of one study while the search runs.

    Order: events are written in the order of the outbox, each at least once.
    Failure: a server that is away delays events; an event that MLflow refuses for good (its run
    was deleted in the user interface) is left out with a warning, so that others get through.
    Threads: `start` and `close` by one thread; `show` is called in the tracker's own.

    uri: MLflow tracking URI; the folder of an SQLite file must exist.
    experiment: name of the experiment, made when it is missing.
    show: called at most every 10 s after a change of the front, and at the end.
    every_s: how often to look at the outbox.
    artifact_location: folder or URI where a new experiment keeps artifacts; None: the server
        decides.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        *,
        uri: str,
        experiment: str,
        show: Show,
        every_s: float = 1.0,
        artifact_location: str | os.PathLike[str] | None = None,
    ) -> None:
        self._store = store
        self._study = study
        self._uri = uri
        self._experiment = experiment
        self._show = show
        self._every_s = every_s
        self._artifact_location = artifact_location
        self._thread = threading.Thread(target=self._run, name="mlflow-outbox", daemon=True)
        self._ending = threading.Event()
        self._deadline = float("inf")
        self._runs: StudyRuns | None = None
        self._failures = 0
        self._front_changed = False
        self._published = 0.0  # monotonic time of the last publication

    def start(self) -> None:
        prepare()
        self._thread.start()

    def close(self, timeout_s: float) -> int:
        """Deliver what is left, for at most so long; one failed attempt ends it.

        Returns:
            The number of events that stay in the outbox for the next driver.
        """
        self._deadline = time.monotonic() + timeout_s
        self._ending.set()
        self._thread.join(timeout_s)
        return len(self._store.undelivered(self._study, _MANY))

    def _run(self) -> None:
        while True:
            ending = self._ending.is_set()
            try:
                busy = self._deliver()
                self._publish(now=ending and not busy)
            except Exception as error:  # whatever it is, the search goes on
                self._away(error)
                busy = False
            else:
                self._back()
            if ending and (not busy or time.monotonic() > self._deadline):
                return
            if not busy:
                self._ending.wait(self._wait_s)

    @property
    def _wait_s(self) -> float:
        return float(min(self._every_s * 2 ** min(self._failures, 16), LONGEST_WAIT_S))

    def _deliver(self) -> bool:
        """Write one batch of the outbox; False when it was empty."""
        done = []
        try:
            for identity, event in self._store.undelivered(self._study, _BATCH):
                if time.monotonic() > self._deadline:
                    break
                self._write(event)
                done.append(identity)
        finally:
            if done:
                self._store.delivered(self._study, done)
        return bool(done)

    def _write(self, event: Event) -> None:
        runs = self._connected()
        try:
            try:
                runs.write(event)
            except MlflowException as error:
                if error.error_code not in _GONE:
                    raise
                # The server was emptied or replaced: find or make the runs once more.
                runs.forget()
                runs.write(event)
        except Exception as error:
            if not _refused(error):
                raise
            _log.warning(
                "MLflow refused %s of trial %s of study %s, which is left out: %s",
                event.kind,
                event.trial,
                self._study,
                self._cause(error),
            )
        self._front_changed |= event.kind in ("front", "study_ended")

    def _publish(self, *, now: bool) -> None:
        due = time.monotonic() - self._published >= PUBLISH_EVERY_S
        if self._front_changed and (now or due):
            self._connected().publish(self._drawn())
            self._front_changed = False
            self._published = time.monotonic()

    def _drawn(self) -> Shown:
        try:
            return self._show()
        except Exception as error:  # a picture must not hold up the events
            _log.warning("the front of study %s was not drawn: %r", self._study, error)
            return Shown()

    def _connected(self) -> StudyRuns:
        if self._runs is None:
            make_database(self._uri)
            self._runs = StudyRuns(
                MlflowClient(tracking_uri=self._uri),
                self._store,
                self._study,
                experiment=self._experiment,
                artifact_location=absolute(self._artifact_location),
            )
        return self._runs

    def _away(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            _log.warning(
                "MLflow at %s does not take events; the search goes on and they are delivered "
                "later: %s",
                _public(self._uri),
                self._cause(error),
            )

    def _cause(self, error: Exception) -> str:
        lines = str(error).splitlines() or [""]
        text = f"{type(error).__name__}: {lines[0]}"
        return text.replace(_credentials(self._uri), "")[:300]

    def _back(self) -> None:
        if self._failures:
            _log.warning("MLflow at %s is back", _public(self._uri))
        self._failures = 0


def deliver(
    store: Store,
    study: str,
    *,
    uri: str,
    experiment: str,
    show: Show,
    timeout_s: float,
    artifact_location: str | os.PathLike[str] | None = None,
) -> int:
    """Deliver what earlier drivers of the study left behind.

    Never beside a running tracker of the same study.

    Returns:
        The number of events that are still undelivered.
    """
    tracker = MlflowTracker(
        store,
        study,
        uri=uri,
        experiment=experiment,
        show=show,
        artifact_location=artifact_location,
    )
    tracker.start()
    return tracker.close(timeout_s)


def prepare() -> None:
    """Settings that MLflow takes from the environment of the process only."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_TIMEOUT_S))
    # A request that is repeated blindly may create a run twice: our own loop searches first.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    # It prints links on stdout, which is for data.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    for name in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)


def make_database(uri: str) -> None:
    """Make the SQLite file of a tracking URI where it is missing; nothing else is touched.

    MLflow's migrations are no transaction: a file whose making was cut off, by a second Ctrl-C or
    kill -9, is one that MLflow refuses for ever. So it gets its name when it is whole.
    """
    scheme, _, name = uri.partition(":///")
    path = Path(name)
    if scheme != "sqlite" or name in ("", ":memory:") or "?" in name or path.exists():
        return
    # A TemporaryDirectory would be deleted at the process's end, under the thread that fills it.
    folder = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        whole = Path(folder, path.name)
        MlflowClient(tracking_uri=f"sqlite:///{whole}").search_experiments(max_results=1)
        if not path.exists():  # another process may have been first
            whole.rename(path)
    finally:
        shutil.rmtree(folder)


def _refused(error: Exception) -> bool:
    """Whether the same write would fail for ever: MLflow's word for it, or a broken payload."""
    if isinstance(error, MlflowException):
        return error.error_code in _REFUSED
    broken = KeyError | TypeError | AttributeError | ValueError
    return isinstance(error, broken) and not isinstance(error, OSError | json.JSONDecodeError)


def absolute(location: str | os.PathLike[str] | None) -> str | None:
    """A folder is made absolute: MLflow would follow the working directory of each reader."""
    if location is None or "://" in str(location):
        return None if location is None else str(location)
    return os.path.abspath(location)


def _public(uri: str) -> str:
    """The URI without the user and password that it may hold."""
    return uri.replace(_credentials(uri), "")


def _credentials(uri: str) -> str:
    user, at, _ = urlsplit(uri).netloc.rpartition("@")
    return user + at
