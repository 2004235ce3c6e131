"""One driver a study: who searches it says so in the store, and is heard of every few seconds.

A lease is two facts of the study: `driver`, who holds it, and `driver.heard`, when it was last
heard of. A driver whose process is gone from this machine has lost it at once, one on another
machine after a minute of silence. What a driver commits is checked against the lease in the same
transaction, so one that slept through the loss of its own writes nothing any more. `driver.last`
stays when a lease ends, for who asks where the study was searched.
"""

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event, Store
from autopeft.domain.trial import Trial

HOLDER, HEARD, ASKED, LAST = "driver", "driver.heard", "driver.stop", "driver.last"
BEAT_S = 5.0
SILENCE_S = 60.0

log = logging.getLogger("autopeft")


@dataclass(frozen=True)
class Holder:
    """A driver. process, since: Unix seconds, when its process and its lease began.

    job: of Ray, that it runs in; "" where it was started otherwise.
    """

    id: str
    host: str
    pid: int
    process: float
    since: float
    job: str = ""

    @classmethod
    def here(cls) -> "Holder":
        pid = os.getpid()
        began = psutil.Process(pid).create_time()
        return cls(uuid.uuid4().hex, platform.node(), pid, began, time.time(), job_here())

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def alive(self, heard: float) -> bool:
        """heard: Unix seconds, by the holder's clock."""
        if self.host != platform.node():
            return time.time() - heard < SILENCE_S
        try:  # another process may have got its number
            process = psutil.Process(self.pid)
            ended = process.status() == psutil.STATUS_ZOMBIE  # killed, and nobody reaped it
            return not ended and bool(abs(process.create_time() - self.process) < 1)
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        job = f"job {self.job}, " if self.job else ""
        return f"{job}process {self.pid} on {self.host} since {at}"


def job_here() -> str:
    """The Ray job that this process runs in, as Ray tells it; "" outside of one."""
    told = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    return str(told.get("metadata", {}).get("job_submission_id", ""))


@dataclass(frozen=True)
class Driver:
    """who: a driver. heard: Unix seconds, when last. now: whether it still searches."""

    who: Holder
    heard: float
    now: bool


def last_driver(store: Store, study: str) -> Driver | None:
    """Who searches the study or did so last; None: nobody, or a version that did not say so."""
    facts = store.recall(study)
    told = facts.get(HOLDER) or facts.get(LAST)
    if not told:
        return None
    who, heard = Holder(**json.loads(told)), float(facts.get(HEARD, 0.0))
    return Driver(who, heard, now=HOLDER in facts and who.alive(heard))


def holder(store: Store, study: str) -> Holder | None:
    """Who searches the study now; None: nobody, or a driver that is gone."""
    found = last_driver(store, study)
    return found.who if found is not None and found.now else None


def study_of(store: Store, job: str) -> str | None:
    """The study that a Ray job searches, or searched last; None: there is none yet."""
    for key in (HOLDER, LAST):
        for study, told in store.everywhere(key).items():
            if Holder(**json.loads(told)).job == job:
                return study
    return None


def refuse_busy(store: Store, study: str) -> None:
    """Raises:
    StudyError: the study is being searched.
    """
    if found := holder(store, study):
        raise StudyError(
            f"study {study!r} is being searched by {found}: wait for it, or end it with "
            f"`autopeft stop {study}`"
        )


def ask_to_stop(store: Store, study: str) -> Holder:
    """Ask the driver to pause, wherever it runs; it looks every few seconds.

    Raises:
        StudyError: nobody searches the study, or there is none.
    """
    store.study(study)
    found = holder(store, study)
    if found is None:
        raise StudyError(f"study {study!r} is not being searched: there is nothing to stop")
    store.remember(study, ASKED, found.id)
    return found


class Lease:
    """This process as the driver of a study.

    Threads: `hold` starts one, which sets `stop` when it is asked to or when the lease is lost.
    """

    def __init__(self, store: Store, study: str, stop: threading.Event) -> None:
        self._store, self._study, self._stop = store, study, stop
        self.text = ""
        self._ending = threading.Event()

    @contextmanager
    def hold(self) -> Iterator["LeasedStore"]:
        """The store to write the study by.

        Raises:
            StudyError: another driver searches the study.
        """
        self._take()
        beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        beating.start()
        try:
            yield LeasedStore(self._store, self.text)
        finally:
            self._ending.set()
            beating.join()
            self._store.swap(self._study, HOLDER, self.text, None)

    def _take(self) -> None:
        refuse_busy(self._store, self._study)
        mine, gone = Holder.here(), self._store.recall(self._study).get(HOLDER)
        self._store.remember(self._study, HEARD, repr(time.time()))
        if not self._store.swap(self._study, HOLDER, gone, mine.text()):
            refuse_busy(self._store, self._study)
            raise StudyError(f"another process began to search study {self._study!r}: try again")
        self.text = mine.text()
        self._store.remember(self._study, LAST, self.text)
        if gone:
            log.warning("took over study %s from %s", self._study, Holder(**json.loads(gone)))

    def _beat(self) -> None:
        mine = json.loads(self.text)["id"]
        while not self._ending.wait(BEAT_S):
            try:
                self._store.remember(self._study, HEARD, repr(time.time()))
                facts = self._store.recall(self._study)
            except StudyError as error:  # the store is away: the next commit says so, or waits
                log.warning("the lease of study %s was not renewed: %s", self._study, error)
                continue
            if facts.get(HOLDER) != self.text:
                log.error("study %s was taken over by another driver: this one ends", self._study)
                self._stop.set()
                return
            if facts.get(ASKED) == mine:
                log.warning("study %s was asked to stop", self._study)
                self._stop.set()


class LeasedStore:
    """A store whose commits fail once the lease is lost; everything else goes through."""

    def __init__(self, store: Store, held: str) -> None:
        self._store, self._held = store, held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(
        self,
        name: str,
        trials: Sequence[Trial],
        events: Sequence[Event],
        *,
        held: tuple[str, str] | None = None,
    ) -> None:
        self._store.commit(name, trials, events, held=held or (HOLDER, self._held))
