"""Early stopping as the Trainer has it, judged by what a trial is measured by.

An exported train.py has this module beside it.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import EarlyStoppingCallback, Trainer


class Patience(EarlyStoppingCallback):  # type: ignore[misc]
    """The Trainer's own callback, which may also wait for a step or have no end to its patience.

    patience, threshold: as of EarlyStoppingCallback; None: it never stops. settled: no evaluation
    before this step, since the network still changes its size.
    """

    def __init__(self, patience: int | None, threshold: float = 0.0, settled: int = 0) -> None:
        super().__init__(sys.maxsize if patience is None else patience, threshold)
        self._settled = settled

    @property
    def exhausted(self) -> bool:
        """Whether it has ended the training."""
        return bool(self.early_stopping_patience_counter >= self.early_stopping_patience)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Nothing: who goes back to the best model is not the Trainer."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step < self._settled:
            control.should_evaluate = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.on_step_end(args, state, control)


class EveryRowMixin:
    """Added in front of a Trainer: it evaluates on every row, whatever its training leaves out."""

    def get_eval_dataloader(self: Any, *args: Any, **kwargs: Any) -> Any:
        drops, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.args.dataloader_drop_last = drops


class JudgedMixin(EveryRowMixin):
    """Added in front of a Trainer: it evaluates by `judge`, and may keep its best weights.

    judge: trainer -> metrics by name. keeps_best: whether to keep the weights.
    best_weights: on the CPU, by name; None before the first evaluation. best_step: of them.
    """

    judge: Callable[[Any], Mapping[str, float]]
    keeps_best = False
    best_weights: dict[str, torch.Tensor] | None = None
    best_step = 0

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        # What evaluating draws must not change the training that goes on.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            found = self.judge(self)
        metrics = {f"eval_{name.removeprefix('eval_')}": found[name] for name in found}
        if self.keeps_best and self._better(metrics):
            self.best_weights = {
                name: parameter.detach().to("cpu", copy=True)
                for name, parameter in self.model.named_parameters()
                if parameter.requires_grad
            }
            self.best_step = self.state.global_step
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _better(self: Any, metrics: Mapping[str, float]) -> bool:
        """As the Trainer decides a moment later, when it remembers the best value."""
        value = metrics[f"eval_{self.args.metric_for_best_model.removeprefix('eval_')}"]
        best = self.state.best_metric
        if best is None:
            best = float("-inf") if self.args.greater_is_better else float("inf")
        return bool(value > best if self.args.greater_is_better else value < best)

    def back_to_best(self: Any) -> None:
        """Put the weights of the best evaluation into the model; nothing before the first."""
        if self.best_weights is None:
            return
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self.best_weights:
                    parameter.copy_(self.best_weights[name])


def judged(trainer_class: type[Trainer]) -> type[Any]:
    """A trainer class that is judged so."""
    return type(f"Judged{trainer_class.__name__}", (JudgedMixin, trainer_class), {})
