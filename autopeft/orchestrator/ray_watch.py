"""What a run on Ray looks after between Tune's steps: its end, dead workers, time that is over.

Imported by `ray_tune` alone, which sets what Ray reads from its environment first.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import ray
from ray import PlacementGroupID, tune
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from autopeft.orchestrator import leaving


class Watched(Protocol):
    """The searcher of a run; see `ray_tune.SegmentSearcher`."""

    @property
    def over(self) -> bool: ...

    def seconds(self, trial_id: str) -> float | None: ...

    def overdue(self, trial_id: str) -> None: ...

    def lost(self, trial_id: str, cause: str, *, counts: bool) -> None: ...


class Unpickled:
    """Tune pickles what it is given for a restore that we never do."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Over(BaseException):
    """Leaves Tune's loop at once; Tune takes an Exception for a reason to wait for its actors."""


class Watch(Unpickled, tune.Callback):  # type: ignore[misc]
    """Ends the run as soon as it is over, running segments or not, and tells of lost workers.

    A worker whose segment takes longer than it may is killed.
    """

    def __init__(self, searcher: Watched) -> None:
        self._searcher = searcher
        self._due: dict[str, tuple[float, Any]] = {}  # when its time is over, and its Tune trial
        self._killed: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if (seconds := self._searcher.seconds(trial.trial_id)) is not None:
            self._due[trial.trial_id] = (time.monotonic() + seconds, trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._due.pop(trial.trial_id, None)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if not self._searcher.over:
            self._end_overdue()
            return
        for trial in trials:
            # On a cluster that goes on, a worker would write the checkpoint of a trial that is
            # resumed elsewhere.
            if (actor := trial.temporary_state.ray_actor) is not None:
                ray.kill(actor)
        raise Over

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._due.pop(trial.trial_id, None)
        if trial.trial_id in self._killed:
            self._searcher.overdue(trial.trial_id)
            return
        said = leaving.last_words(trial)
        cause = (said.splitlines() or ["no reason was given"])[-1].strip()
        if leaving.PAUSED in said:  # in the midst of a longer text
            cause = leaving.PAUSED
        # Tune does not count a preempted worker as a failure of its trial.
        counts = trial.num_failures > 0 and not leaving.left(said)
        self._searcher.lost(trial.trial_id, cause, counts=counts)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for name, (due, trial) in list(self._due.items()):
            actor = trial.temporary_state.ray_actor
            if now >= due and actor is not None:
                del self._due[name]
                self._killed.add(name)
                ray.kill(actor)


@contextmanager
def groups_given_back() -> Iterator[None]:
    """Remove the placement groups that a run made and did not remove, as one that `Over` ended.

    They would hold their CPUs and GPUs until this process leaves Ray.
    """
    before = _own_groups()
    try:
        yield
    finally:
        for name in _own_groups() - before:
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))


def _own_groups() -> set[str]:
    """The groups of this driver; a group's id ends with its job's."""
    job = ray.get_runtime_context().get_job_id()
    return {
        name
        for name, group in placement_group_table().items()
        if name.endswith(job) and group["state"] != "REMOVED"
    }
