"""The rule of what is kept (`retention`), applied while a driver runs.

In the study's folder at once, looking at no more than what a result changed. At a URL deleting
takes a request each, so a thread of its own does it: the search never waits. What could not be
deleted is tried again after the next result, and by the next driver.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from autopeft.artifacts import Artifacts
from autopeft.domain.errors import ArtifactError
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.home import StudyFolder
from autopeft.orchestrator.retention import needless, tidy

log = logging.getLogger("autopeft")


class LocalHousekeeper:
    """Deletes from the study's folder.

    Args:
        trials: gives all trials of the study as they are now. kept: `kept_adapters` of them.
    """

    def __init__(
        self,
        spec: StudySpec,
        folder: Path,
        trials: Callable[[], Sequence[Trial]],
        kept: Callable[[], frozenset[int]],
    ) -> None:
        self._spec, self._folder, self._trials, self._now = spec, folder, trials, kept
        self._kept: frozenset[int] = frozenset()

    def start(self) -> None:
        self._kept = self._now()
        tidy(self._spec, self._trials(), self._folder, finished=False)

    def heard(self, trial: Trial) -> None:
        """A trial changed."""
        if trial.state is State.RUNNING:
            return
        left, kept = StudyFolder(self._folder), self._now()
        ended = trial.state in (State.COMPLETED, State.FAILED)
        for number in (self._kept - kept) | ({trial.number} - kept if ended else set()):
            shutil.rmtree(left.adapter(number), ignore_errors=True)
        if ended:
            shutil.rmtree(left.checkpoints(trial.number), ignore_errors=True)
        self._kept = kept

    def close(self, *, finished: bool, timeout_s: float) -> None:
        if finished:
            tidy(self._spec, self._trials(), self._folder, finished=True)


class DistantHousekeeper:
    """Deletes from a URL.

    The place is listed once, at the beginning; from then on what was told says what is there.

    Args:
        trials: gives all trials of the study as they are now.
    """

    def __init__(
        self, spec: StudySpec, artifacts: Artifacts, trials: Callable[[], Sequence[Trial]]
    ) -> None:
        self._spec, self._artifacts, self._trials = spec, artifacts, trials
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._listed = False
        self._warned = False
        self._wake = threading.Event()
        self._ending = False
        self._finished = False
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        self._wake.set()
        self._thread.start()

    def heard(self, trial: Trial) -> None:
        """A trial changed; returns at once."""
        if trial.state in (State.RUNNING, State.PLANNED):
            return
        with self._lock:
            self._told |= _left(self._spec.name, trial)
        self._wake.set()

    def close(self, *, finished: bool, timeout_s: float) -> None:
        """Delete what is left to delete; what takes longer is the next driver's."""
        self._finished, self._ending = finished, True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        ending = False
        while not ending:
            self._wake.wait()
            self._wake.clear()
            ending = self._ending
            self._tidy()

    def _tidy(self) -> None:
        try:
            if not self._listed:
                found = self._artifacts.keys(self._spec.name)
                with self._lock:
                    self._told |= found
                self._listed = True
            with self._lock:
                there = frozenset(self._told)
            for key in needless(self._spec, self._trials(), there, finished=self._finished):
                self._artifacts.forget(key)
                with self._lock:
                    self._told.discard(key)
        except ArtifactError as error:
            if not self._warned:
                said = "what study %s needs no more is deleted later: %s"
                log.warning(said, self._spec.name, error)
            self._warned = True


def _left(study: str, trial: Trial) -> set[str]:
    """The keys of what a trial's last segment may have left."""
    folder, number = StudyFolder(Path(study)), trial.number
    if trial.state is State.PAUSED:
        return {folder.checkpoint(number, trial.next_rung - 1).as_posix()}
    # A segment that ended may have been cut short before, which leaves a checkpoint of its own.
    return {
        folder.adapter(number).as_posix(),
        folder.checkpoint(number, trial.next_rung).as_posix(),
    }
