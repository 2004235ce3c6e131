"""What listens to a segment's training: its learning curve, and the step that it stops at."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback

from autopeft import preemption
from autopeft.domain.ports import Report
from autopeft.domain.trial import Stop
from autopeft.training.allocating import curve
from autopeft.training.inject import UnfitError
from autopeft.training.pausing import StopAt


class Curve(TrainerCallback):  # type: ignore[misc]
    """Passes the Trainer's logs on as a learning curve, with what the allocation records."""

    def __init__(self, report: Report, record: Callable[[], Mapping[str, Any]]) -> None:
        self._report = report
        self._record = record

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        metrics = {
            name: float(value)
            for name, value in (logs or {}).items()
            if name in ("loss", "grad_norm", "learning_rate", "eval_loss")
        }
        if metrics:
            self._report(state.global_step, metrics | curve(self._record()))


class SegmentStop(StopAt):
    """Turns a rung into a step once the Trainer knows the length of an epoch.

    It stops before, too, where the machine goes away (`autopeft.preemption`): `cut_short`.

    planned: steps that a schedule in the model counts on; None: nothing depends on them.
    """

    def __init__(self, stop: Stop, planned: int | None) -> None:
        super().__init__(stop.steps)
        self._epochs = stop.epochs
        self._planned = planned
        self._per_epoch = 1
        self.cut_short = False

    def on_train_begin(
        self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        if self._planned not in (None, state.max_steps):
            raise UnfitError(
                f"the allocation's schedule counts on {self._planned} steps, the trainer does "
                f"{state.max_steps}: set max_steps, or leave packing out"
            )
        accumulated = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
        self._per_epoch = max(1, accumulated)
        if self._epochs is not None:
            self._step = max(1, math.ceil(self._epochs * self._per_epoch))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        ends = control.should_training_stop or state.global_step >= state.max_steps
        if preemption.asked() and not ends:
            self._step, self.cut_short = state.global_step, True
            control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The Trainer ends an epoch also where a rung only interrupts it."""
        interrupted = state.global_step == self._step and state.global_step < state.max_steps
        if interrupted and state.global_step % self._per_epoch:
            control.should_evaluate = False
