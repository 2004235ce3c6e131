"""Early stopping of a segment: what stops it, what it goes back to, and what is told of it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from autopeft.domain.architecture import Configuration
from autopeft.domain.recipes.stopping import EarlyStopping, settled_at
from autopeft.domain.space import Json
from autopeft.training.inject import refusals
from autopeft.training.measuring.own_metrics import OwnMetrics, predicted
from autopeft.training.stopping import Patience
from autopeft.training.tasks import Task


def patience_of(
    configuration: Configuration, total_steps: int, before: Mapping[str, Any]
) -> Patience | None:
    """The callback that counts, gone on from a segment's progress; None: nothing stops early."""
    stopping = EarlyStopping.of(configuration.recipe)
    if stopping is None:
        return None
    with refusals():
        settled = settled_at(configuration.architecture, total_steps)
    patience = Patience(stopping.patience, stopping.threshold, settled)
    patience.early_stopping_patience_counter = before.get("waited", 0)
    return patience


def judge_of(
    task: Task, own: OwnMetrics, split: str | None
) -> Callable[[Any], Mapping[str, float]]:
    """What judges a trainer: the task's measure of a split, and the user's where it is asked for.

    split: its name, where the trainer has several.
    """

    def judge(trainer: Any) -> Mapping[str, float]:
        loader = trainer.get_eval_dataloader(split)
        metrics, _ = task.measure(trainer.model, loader, trainer.args.device, ())
        if (name := str(trainer.args.metric_for_best_model)) in own:
            found, _ = own.of(*predicted(trainer, loader), finite=False)
            metrics[name] = found.get(name, math.nan)  # which is better than nothing
        return metrics

    return judge


def judge_early(
    trainer: Any,
    recipe: Mapping[str, Json],
    judge: Callable[[Any], Mapping[str, float]],
) -> None:
    """Make a judged trainer (`stopping.judged`) evaluate by `judge`."""
    stopping = EarlyStopping.of(recipe)
    if stopping is not None:
        trainer.judge = judge
        trainer.keeps_best = stopping.best


def progress_told(trainer: Any, patience: Patience | None) -> dict[str, Any]:
    """What the next segment has to know."""
    if patience is None:
        return {}
    return {
        "waited": patience.early_stopping_patience_counter,
        "stopped": patience.exhausted,
        "best_step": trainer.best_step,
    }


def notes_told(trainer: Any, patience: Patience | None) -> dict[str, Any]:
    """What a trial's provenance tells. stopped: the step; None: it ran to its end (or rung)."""
    if patience is None:
        return {}
    found = {
        "stopped": trainer.state.global_step if patience.exhausted else None,
        "best": trainer.state.best_metric,
        "metric": trainer.args.metric_for_best_model,
    }
    if trainer.keeps_best and trainer.best_weights is not None:
        found["weights_of"] = trainer.best_step
    return {"early_stopping": found}
