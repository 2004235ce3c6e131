"""What a trial has cost: memory, time, and what follows from them."""

from collections.abc import Mapping
from statistics import mean, median
from typing import Any

from autopeft.domain.study import Resources

_SAMPLE = 512  # rows whose tokens are counted, evenly spaced


def costs(progress: Mapping[str, Any], trainer: Any, resources: Resources) -> dict[str, float]:
    """Of the trial so far. progress: what its segments measured together."""
    step = median(progress["step_seconds"])
    hours = progress["train_seconds"] * resources.devices / 3600
    found = {
        "peak_memory_gib": progress["peak_memory_gib"],
        "train_seconds": progress["train_seconds"],
        "step_ms": 1000 * step,
        "gpu_hours": hours,
    }
    if (tokens := _tokens_of_step(trainer)) is not None:
        found["tokens_per_second"] = tokens / step
    if resources.price_per_hour is not None:
        found["cost"] = hours * resources.price_per_hour
    return found


def _tokens_of_step(trainer: Any) -> float | None:
    """Tokens of an optimiser step's rows, padding apart; None where rows have none."""
    rows = trainer.train_dataset
    if "input_ids" not in rows.column_names:
        return None
    some = rows.select(range(0, len(rows), max(1, len(rows) // _SAMPLE)))
    arguments = trainer.args
    count = arguments.train_batch_size * arguments.gradient_accumulation_steps
    count = min(count * arguments.world_size, len(rows))
    return float(mean(len(ids) for ids in some["input_ids"]) * count)
