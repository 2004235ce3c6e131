"""The processes of one trial: who this one is, and how what they measured comes together.

n processes, ranks 0 to n - 1; without a process group everything here is as with one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.utils.data import DataLoader
from transformers import TrainerCallback, set_seed


def world() -> int:
    """How many processes train this trial."""
    return int(dist.get_world_size()) if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 writes files and tells the result."""
    return int(dist.get_rank()) if world() > 1 else 0


def barrier() -> None:
    """Wait until all are here."""
    gathered(None)


def gathered(value: Any) -> list[Any]:
    """Everyone's value, by rank."""
    if world() == 1:
        return [value]
    found: list[Any] = [None] * world()
    dist.all_gather_object(found, value)
    return found


def own_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What this process does of a recipe that `domain.recipes.processes.spread_out` made.

    Parameters without a gradient in a step (of a layer that an allocation froze) are looked for:
    the reduction would wait for them.
    """
    if world() == 1:
        return dict(recipe)
    accumulated = int(recipe["gradient_accumulation_steps"]) // world()
    found = {"ddp_find_unused_parameters": True, **recipe}
    return {**found, "gradient_accumulation_steps": accumulated}


def on_one_device(arguments: Any) -> Any:
    """TrainingArguments of a process that sees further GPUs, which are not this trial's.

    The Trainer would split what is then n times the batch over n of them (torch's DataParallel).
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def average_over_processes(trainer: Any, *, by_tokens: bool) -> None:
    """Make a step's gradient the mean over its rows, or tokens, wherever they are.

    Language models divide their loss by the tokens of all processes, which the Trainer tells them.
    The other models take that number and mostly leave it, so that their loss would count once for
    every process (BERT on transformers 5.23): each process's own mean counts alike instead.
    """
    if world() > 1 and not by_tokens:
        trainer.model_accepts_loss_kwargs = False


def peak_of_all(peak_gib: float, kind: str) -> float:
    """Of the fullest GPU; of the machine, where all processes share its memory."""
    return float((max if kind == "cuda" else sum)(gathered(peak_gib)))


def over_ranks(
    measured: Callable[[Any, Any, Any], Any], model: Any, loader: Any, device: Any
) -> Any:
    """What `measured(model, loader, device)` gives for the whole loader, everywhere.

    measured: gives an array or a list by rows or tokens, or a tuple of arrays, in the loader's
        order. Each process takes a run of whole batches: those of one process, none twice.
    """
    if world() == 1:
        return measured(model, loader, device)
    batches = _share(list(loader.batch_sampler.batch_sampler))
    own = None
    if batches:
        part = DataLoader(
            loader.dataset,
            batch_sampler=batches,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
        )
        own = measured(model, part, device)
    return _joined([found for found in gathered(own) if found is not None])


def rows_over_ranks(rows: Sequence[Any], told: Callable[[Sequence[Any]], Sequence[Any]]) -> Any:
    """`told(rows)`, one value a row, each process for its share of the rows."""
    if world() == 1:
        return told(rows)
    share = [rows[i] for i in _share(range(len(rows)))]
    return _joined(gathered(list(told(share)) if share else []))


def _share(items: Sequence[Any]) -> Sequence[Any]:
    """This process's run of the items; runs differ by one in length at most."""
    first, last = (len(items) * at // world() for at in (rank(), rank() + 1))
    return items[first:last]


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], tuple):
        return tuple(_joined(columns) for columns in zip(*parts, strict=True))
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]


class OwnDraws(TrainerCallback):  # type: ignore[misc]
    """Dropout of its own in every process: alike, it would drop the same in all parts of a batch.

    Rank 0 draws what one process would. A paused trial goes on from its own random state.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if rank():
            set_seed(int(np.random.SeedSequence([args.seed, rank()]).generate_state(1)[0]))
