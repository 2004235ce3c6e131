"""Looking at a model without leaving a trace: for probes between steps and before training.

A batch is what the model's collator gives: {argument: tensor}, `labels` among them where a loss
is wanted.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Batch = Mapping[str, torch.Tensor]


@contextmanager
def probing(model: Any) -> Iterator[None]:
    """Evaluation mode without a cache; every mode and the random state come back afterwards."""
    modes = {module: module.training for module in model.modules()}
    device = device_of(model)
    cached = getattr(model.config, "use_cache", None)
    model.eval()
    if cached:
        # A blended layer runs twice: the second time, a cache would hold its own keys.
        model.config.use_cache = False
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        if cached:
            model.config.use_cache = cached


def device_of(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


def output_of(model: Any, batch: Batch) -> Any:
    """The model's output of a batch, which may lie on another device."""
    device = device_of(model)
    return model(**{name: tensor.to(device) for name, tensor in batch.items()})


def loss_of(model: Any, batch: Batch) -> torch.Tensor:
    """The loss of a batch.

    Raises:
        ValueError: the batch has no labels, so the model gives no loss.
    """
    loss = output_of(model, batch).loss
    if loss is None:
        raise ValueError(
            f"a probe batch needs labels, got {sorted(batch)}: take batches of the training split"
        )
    found: torch.Tensor = loss
    return found


def probe_batches(
    trainer: Any, *, seed: int, count: int = 16, rows: int = 16
) -> list[dict[str, torch.Tensor]]:
    """Batches of the training split for probes, drawn by their own generator.

    Args:
        trainer: a Trainer; its rows are put together by its own collator.
        seed: of the draw. The global generators are not drawn from.
        count: batches; fewer where the split is smaller.
        rows: of each batch (16 in IST's paper).
    """
    split = trainer.train_dataset
    order = np.random.default_rng(seed).permutation(len(split))
    collate = trainer.data_collator
    with torch.random.fork_rng([]):
        return [
            dict(collate([split[int(i)] for i in order[start : start + rows]]))
            for start in range(0, min(count * rows, len(order)), rows)
        ]
