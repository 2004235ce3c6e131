"""What runs on a worker of Ray: a segment, by an evaluator that stays between segments.

Imported by `ray_tune` alone, which sets what Ray reads from its environment first.
"""

import json
import traceback
from collections.abc import Mapping
from typing import Any

from ray import tune

from autopeft.domain.ports import Evaluator
from autopeft.domain.trial import Failure, FailureReason, Result
from autopeft.orchestrator import leaving
from autopeft.orchestrator.curves import Curve
from autopeft.orchestrator.wire import result_out, segment_in
from autopeft.preemption import Preempted

METRIC = "told"


class SegmentTrainable(tune.Trainable):  # type: ignore[misc]
    """Runs a segment in one step; the actor is re-used, and keeps its evaluator."""

    def setup(self, config: Mapping[str, Any], make_evaluator: Any = None) -> None:
        # Before the clock of the first segment starts: its libraries take a while to load.
        self._evaluator: Evaluator | None = None
        self._unbuilt: Exception | None = None
        try:
            self._evaluator = make_evaluator()
        except Exception as error:
            self._unbuilt = error
        self._segment = segment_in(json.loads(config["segment"]))

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        self._segment = segment_in(json.loads(new_config["segment"]))
        return True

    def step(self) -> dict[str, Any]:
        curve = Curve()
        result: Result | Failure
        try:
            with leaving.heard():
                result = self._run(curve)
            if leaving.spoiled(result):
                leaving.leave()
            payload = json.dumps({**result_out(result), "curve": curve.points})
        except Preempted:
            leaving.leave()
        except Exception as error:
            # An evaluator that cannot be built, or a result that is none: as bad for the next one.
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            result = Failure(FailureReason.ERROR, said, traceback.format_exc())
            payload = json.dumps({**result_out(result), "curve": []})
        return {METRIC: 1, "payload": payload, "done": True}

    def _run(self, curve: Curve) -> Result | Failure:
        if self._evaluator is None:
            raise self._unbuilt or RuntimeError("the worker was not set up")
        return self._evaluator.run(self._segment, curve.report)

    def cleanup(self) -> None:
        """The worker ends well: what its evaluator keeps on this machine goes with it."""
        self._evaluator = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints are the evaluator's own."""
