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

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_SYNCER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")

import ray
from ray import tune
from ray.tune.search import Searcher

from autopeft.domain.ports import Evaluator
from autopeft.domain.study import Resources
from autopeft.domain.trial import Failure, FailureReason, Segment
from autopeft.orchestrator.session import StudySession
from autopeft.orchestrator.wire import result_in, result_out, segment_in, segment_out

_LOSSES = 3  # workers that a segment may take down with it before it counts as a failure
_METRIC = "told"


class SegmentTrainable(tune.Trainable):  # type: ignore[misc]
    """Runs a segment in one step; the actor is re-used, and keeps its evaluator."""

    def setup(self, config: Mapping[str, Any], make_evaluator: Any = None) -> None:
        self._make_evaluator = make_evaluator
        self._evaluator: Evaluator | None = None
        self._segment = segment_in(json.loads(config["segment"]))

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        self._segment = segment_in(json.loads(new_config["segment"]))
        return True

    def step(self) -> dict[str, Any]:
        if self._evaluator is None:
            self._evaluator = self._make_evaluator()
        curve: list[tuple[int, dict[str, float]]] = []
        result = self._evaluator.run(
            self._segment, lambda step, metrics: curve.append((step, dict(metrics)))
        )
        payload = json.dumps({**result_out(result), "curve": curve})
        return {_METRIC: 1, "payload": payload, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints are the evaluator's own."""


class _Unpickled:
    """Tune pickles what it is given for a restore that we never do."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SegmentSearcher(_Unpickled, Searcher):  # type: ignore[misc]
    """Forwards ask and tell. Tune calls it from its own loop, so nothing here may take long."""

    def __init__(self, session: StudySession, stop: threading.Event) -> None:
        super().__init__(metric=_METRIC, mode="max")
        self._session = session
        self._stop = stop
        self._segments: dict[str, Segment] = {}
        self._losses: dict[tuple[int, int], int] = {}
        self._thinking: threading.Thread | None = None
        self._broken: BaseException | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._broken is not None:
            raise self._broken
        if self._stop.is_set():
            return str(Searcher.FINISHED)
        segment = self._session.ask_ready()
        if segment is not None:
            self._segments[trial_id] = segment
            return {"segment": json.dumps(segment_out(segment))}
        if self._session.finished:
            return str(Searcher.FINISHED)
        self._think()
        return None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        segment = self._segments.pop(trial_id, None)
        if segment is None:
            return
        if result is None or "payload" not in result or error:
            self._lost(segment)
            return
        payload = json.loads(result["payload"])
        self._session.report(segment, [(step, metrics) for step, metrics in payload["curve"]])
        self._session.tell(segment, result_in(payload))
        self._think()

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the only memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the only memory."""

    def _lost(self, segment: Segment) -> None:
        """The worker died: a node may go away, but a segment that kills its worker is a failure."""
        key = (segment.trial, segment.rung)
        self._losses[key] = self._losses.get(key, 0) + 1
        if self._losses[key] < _LOSSES or self._stop.is_set():
            self._session.release(segment)
        else:
            said = f"the worker process died {_LOSSES} times in this trial"
            self._session.tell(segment, Failure(FailureReason.ERROR, said))

    def _think(self) -> None:
        """Prepare the next suggestion beside the loop."""
        if self._thinking is None or not self._thinking.is_alive():
            self._thinking = threading.Thread(target=self._prepare, daemon=True)
            self._thinking.start()

    def _prepare(self) -> None:
        try:
            self._session.prepare()
        except BaseException as error:
            self._broken = error


class _Interrupt(_Unpickled, tune.Callback):  # type: ignore[misc]
    """Ends Tune's loop soon after `stop` is set, running segments or not."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt


def run(
    session: StudySession,
    make_evaluator: Callable[[], Evaluator],
    *,
    parallel: int,
    resources: Resources,
    folder: Path,
    stop: threading.Event,
) -> None:
    """Run the study to its end or until `stop` is set; running segments then start again later.

    An existing cluster is used where RAY_ADDRESS names one, else one is started for the search.

    Args:
        folder: of the study; Tune's scratch files go there and are deleted.
    """
    scratch = folder / "ray"
    trainable = tune.with_resources(
        tune.with_parameters(SegmentTrainable, make_evaluator=make_evaluator),
        {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial},
    )
    with _cluster(parallel, resources):
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=SegmentSearcher(session, stop),
                num_samples=-1,
                max_concurrent_trials=parallel,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"segment-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name="segments",
                storage_path=str(scratch),
                verbose=0,
                callbacks=[_Interrupt(stop)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_at_end=False, checkpoint_frequency=0
                ),
            ),
        )
        try:
            tuner.fit()
        except KeyboardInterrupt:
            if not stop.is_set():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _cluster(parallel: int, resources: Resources) -> Iterator[None]:
    """Ray, started here unless there is one."""
    if ray.is_initialized():
        yield
        return
    threads = str(max(1, int(resources.cpus_per_trial)))
    environment = {
        "OMP_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": environment},
    }
    if not os.environ.get("RAY_ADDRESS"):
        cpus = max(1, round(parallel * resources.cpus_per_trial))
        options |= {"num_cpus": cpus, "include_dashboard": False}
        if resources.gpus_per_trial == 0:
            options["num_gpus"] = 0
    ray.init(**options)
    try:
        yield
    finally:
        ray.shutdown()
