"""Ray Tune runs the trials: one Tune trial is one segment.

A Searcher that only forwards ask and tell, FIFO scheduling, re-used actors. Pausing exists in our
store alone: with Tune's own PAUSE a custom searcher ran one trial at a time, or stalled when paused
trials held the limiter's slots (tried on Ray 2.60).

Workers never open the database or MLflow: a result travels back as Tune's own. Nothing of Ray's
experiment state is read again.
"""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Ray reads these when it is imported. A trial of 0 GPUs sees none; relative paths keep their
# meaning on workers; Ctrl-C belongs to the caller.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")
# What a trial prints goes to a file of its worker, which has no end unless it rotates.
os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(32 * 2**20))
os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
# Processes that a trial started end with its worker, however that ends.
os.environ.setdefault("RAY_process_group_cleanup_enabled", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_SYNCER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")

from ray import tune
from ray.tune.search import Searcher

from autopeft.domain.ports import Evaluator, Store
from autopeft.domain.study import Resources
from autopeft.domain.trial import Failure, FailureReason, Segment
from autopeft.orchestrator.fair_shares import FairShare, slots
from autopeft.orchestrator.idle_workers import KeepsWorkers
from autopeft.orchestrator.ray_cluster import (
    cluster,
    cluster_name,
    needed,
    node_resources,
    quiet_tune,
)
from autopeft.orchestrator.ray_watch import Over, Unpickled, Watch, groups_given_back
from autopeft.orchestrator.ray_worker import METRIC, SegmentTrainable
from autopeft.orchestrator.releasing import releasing
from autopeft.orchestrator.segments import too_long
from autopeft.orchestrator.session import StudySession
from autopeft.orchestrator.wire import result_in, segment_out

_LOSSES = 3  # workers that a segment may take down with it before it counts as a failure
_GLANCE_S = 0.05  # a quick sampler is waited for: Tune asks again after .1 s
_THINKING_S = 10  # how long the end waits for a suggestion that is being computed

log = logging.getLogger("autopeft")


class SegmentSearcher(Unpickled, Searcher):  # type: ignore[misc]
    """Forwards ask and tell. Tune calls it from its own loop, so nothing here may take long.

    broken: the error of a session or a sampler that ended the run; Tune would bury it in a
        TuneError of its own.
    share: gives how many segments may run at once.
    """

    def __init__(
        self, session: StudySession, stop: threading.Event, share: Callable[[], int]
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._share = share
        self.broken: Exception | None = None
        self._session = session
        self._stop = stop
        self._segments: dict[str, Segment] = {}
        self._losses: dict[tuple[int, int], int] = {}
        self.starved = False  # a worker waits for the sampler
        self._thinking: threading.Thread | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self.starved = False
        if self.over:
            return str(Searcher.FINISHED)
        if self.busy:
            return None
        try:
            segment = self._session.ask_ready()
            if segment is None:
                if self._session.finished:
                    return str(Searcher.FINISHED)
                self._think().join(_GLANCE_S)
                segment = self._session.ask_ready()
                self.starved = segment is None and self._session.undecided
        except Exception as error:
            self.broken = error
            return None
        if segment is None:
            return None
        self._segments[trial_id] = segment
        return {"segment": json.dumps(segment_out(segment))}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        # Of an error Tune says more to its callbacks: see `lost`.
        if error or result is None:
            return
        segment = self._segments.pop(trial_id)
        payload = json.loads(result["payload"])
        self._guarded(lambda: self._told(segment, payload))

    def seconds(self, trial_id: str) -> float | None:
        """That the segment of a Tune trial may take; None: no limit."""
        return self._segments[trial_id].seconds

    def overdue(self, trial_id: str) -> None:
        """The worker was killed because its segment took too long."""
        segment = self._segments.pop(trial_id)
        self._guarded(lambda: self._overdue(segment))

    def lost(self, trial_id: str, cause: str, *, counts: bool) -> None:
        """The worker died: a node may go away, but a segment that kills its worker is a failure.

        counts: False where the worker was preempted, which says nothing of its segment.
        """
        segment = self._segments.pop(trial_id)
        self._guarded(lambda: self._lost(segment, cause, counts))

    @property
    def busy(self) -> bool:
        """Whether it runs its share of a cluster that others search on, or more."""
        return len(self._segments) >= self._share()

    @property
    def over(self) -> bool:
        """Whether the run has to end, whatever still runs."""
        return self._stop.is_set() or self.broken is not None

    def close(self) -> None:
        """Give back what was not told, and let a suggestion that is being computed end.

        A thread inside torch when Python ends would abort the process.
        """
        for segment in self._segments.values():
            self._session.release(segment)
        if self._thinking is not None:
            self._thinking.join(_THINKING_S)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the only memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the only memory."""

    def _told(self, segment: Segment, payload: Mapping[str, Any]) -> None:
        curve = [(step, metrics) for step, metrics in payload["curve"]]
        self._session.report(segment, curve)
        self._session.tell(segment, result_in(payload))
        self._think()

    def _lost(self, segment: Segment, cause: str, counts: bool) -> None:
        key = (segment.trial, segment.rung)
        self._losses[key] = self._losses.get(key, 0) + counts
        if self._losses[key] < _LOSSES:
            log.warning("trial %d lost its worker and starts again: %s", segment.trial, cause)
            self._session.release(segment)
        else:
            said = f"the worker process died {_LOSSES} times in this trial: {cause}"
            self._session.tell(segment, Failure(FailureReason.ERROR, said))
        self._think()

    def _overdue(self, segment: Segment) -> None:
        self._session.tell(segment, too_long(self._session.spec))
        self._think()

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self.broken = error

    def _think(self) -> threading.Thread:
        """Prepare the next suggestion beside the loop; returns what does."""
        if self._thinking is None or not self._thinking.is_alive():
            self._thinking = threading.Thread(
                target=self._guarded, args=(self._session.prepare,), daemon=True
            )
            self._thinking.start()
        return self._thinking


def run(
    session: StudySession,
    make_evaluator: Callable[[], Evaluator],
    *,
    parallel: int,
    resources: Resources,
    folder: Path,
    stop: threading.Event,
    store: Store | None = None,
    shared: Callable[[int], None] = lambda share: None,
    files: Path | None = None,
) -> None:
    """Run the study to its end or until `stop` is set; running segments then start again later.

    An existing cluster is used where RAY_ADDRESS names one, else one is started for the search.

    Args:
        folder: of the study; Tune's scratch files go there and are deleted.
        store: where the searches of a cluster tell each other what they want of it; None: this one
            has it for itself.
        shared: called with how many trials may run at once, when that changes.
        files: see `ray_cluster.cluster`.
    """
    scratch = folder / "ray"
    trainable = tune.with_resources(
        tune.with_parameters(SegmentTrainable, make_evaluator=make_evaluator),
        needed(resources),
    )
    with (
        cluster(parallel, resources, files),
        quiet_tune(),
        groups_given_back(),
        _share(session.spec.name, store, parallel, resources, shared) as share,
        releasing(lambda: share() < parallel and searcher.busy),
    ):
        searcher = SegmentSearcher(session, stop, share)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=KeepsWorkers(parallel, lambda: searcher.starved),
                num_samples=-1,
                max_concurrent_trials=parallel,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"segment-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name="segments",
                storage_path=str(scratch.absolute()),
                verbose=0,
                callbacks=[Watch(searcher)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_at_end=False, checkpoint_frequency=0
                ),
            ),
        )
        try:
            tuner.fit()
        except Over:
            log.debug("the run was ended before the study")
        finally:
            searcher.close()
            shutil.rmtree(scratch, ignore_errors=True)
    if searcher.broken is not None:
        raise searcher.broken


@contextmanager
def _share(
    study: str,
    store: Store | None,
    parallel: int,
    resources: Resources,
    shared: Callable[[int], None],
) -> Iterator[Callable[[], int]]:
    """What gives the number of segments that may run at once."""
    if store is None:
        yield lambda: parallel
        return
    found = FairShare(
        store,
        study,
        parallel=parallel,
        cluster=cluster_name(),
        slots=lambda: slots(node_resources(), needed(resources)),
        told=shared,
    )
    with found.hold():
        yield lambda: found.now
