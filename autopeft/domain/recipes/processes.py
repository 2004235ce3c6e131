"""A recipe's batch over the processes of a trial.

A recipe says what one optimiser step sees: b rows a micro-batch, a micro-batches accumulated. On n
processes every step sees the same b a rows, so that a trial's result hangs on where it ran as
little as can be: resources of a study may change while it runs.
"""

import math
from dataclasses import replace

from autopeft.domain.architecture import Configuration
from autopeft.domain.recipes.recipe import MICRO_BATCH, RecipeError

_OF_ONE_PROCESS = {
    "auto_find_batch_size": "changes the batch of one process",
    "deepspeed": "shards the model, which every process has whole",
    "fsdp": "shards the model, which every process has whole",
}
"""Fields of a recipe that several processes refuse, and why."""


def shares(rows: int, accumulated: int, processes: int) -> tuple[int, int]:
    """Rows of a micro-batch and micro-batches of each process: n b' a' = b a.

    Accumulation gives first, as that costs no memory and saves time; then the rows.

    Raises:
        RecipeError: the rows of a step cannot be shared out evenly.
    """
    common = math.gcd(accumulated, processes)
    left = processes // common
    if rows % left:
        raise RecipeError(
            MICRO_BATCH[0],
            f"the {rows * accumulated} rows of a step ({' x '.join(MICRO_BATCH)}: {rows} x "
            f"{accumulated}) have to be shared out evenly by {processes} processes: take a "
            f"multiple of {processes}",
        )
    return rows // left, accumulated // common


def refuse_alone(configuration: Configuration, processes: int) -> None:
    """Nothing, unless a field needs several processes, and there is one.

    Raises:
        RecipeError: it does.
    """
    if processes == 1 and (backend := configuration.recipe.get("ddp_backend")):
        raise RecipeError(
            "ddp_backend",
            f"ddp_backend is what processes of a trial talk by, got {backend} and one process: "
            "leave it out, or raise resources.processes_per_trial",
        )


def spread_out(configuration: Configuration, processes: int) -> Configuration:
    """The same training with a process's micro-batch as the recipe's, n times as many accumulated.

    Each process then takes every n-th micro-batch.

    Raises:
        RecipeError: the rows of a step cannot be shared out evenly, others would be dropped, or a
            field is for one process.
    """
    if processes == 1:
        return configuration
    for name, why in _OF_ONE_PROCESS.items():
        if configuration.recipe.get(name):
            raise RecipeError(name, f"{name} {why}, got {processes} processes: leave it out")
    rows, accumulated = (
        int(configuration.recipe.get(name, default))
        for name, default in zip(MICRO_BATCH, (8, 1), strict=True)
    )
    each, of_each = shares(rows, accumulated, processes)
    if configuration.recipe.get("dataloader_drop_last") and each * processes != rows:
        raise RecipeError(
            "dataloader_drop_last",
            f"dataloader_drop_last drops up to {each * processes - 1} rows of an epoch on "
            f"{processes} processes and {rows - 1} on one: leave it out",
        )
    changed = dict(zip(MICRO_BATCH, (each, of_each * processes), strict=True))
    return replace(configuration, recipe={**configuration.recipe, **changed})
