"""A recipe as the arguments of its trainer: what the trial ran is what the export writes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from autopeft.domain.architecture import Configuration
from autopeft.domain.recipes.stopping import ARGUMENTS, CALLBACK, EarlyStopping
from autopeft.domain.space import Json
from autopeft.domain.trial import Trial

_CURVE_POINTS = 20
MICRO_BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")


Refusal = Callable[[str, Json, Mapping[str, Json]], str]
"""refusal(field, value, recipe) -> why no trial trains with that value; "": there is no reason"""


class RecipeError(ValueError):
    """A recipe that no trial can train with.

    field: the one that is wrong.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def micro_batch(configuration: Configuration) -> dict[str, Json]:
    """What the recipe says of it; None where it leaves that to the trainer."""
    return {name: configuration.recipe.get(name) for name in MICRO_BATCH}


def recipe_as_run(trial: Trial) -> dict[str, Json]:
    """The recipe with the micro-batch that memory had room for."""
    return {**trial.configuration.recipe, **trial.provenance.get("halved", {})}


def halved(configuration: Configuration) -> Configuration | None:
    """The same training in micro-batches of half the rows; None where they are odd."""
    rows, accumulated = (
        int(configuration.recipe.get(name, default))
        for name, default in zip(MICRO_BATCH, (8, 1), strict=True)
    )
    if rows % 2:
        return None
    changed = dict(zip(MICRO_BATCH, (rows // 2, 2 * accumulated), strict=True))
    return replace(configuration, recipe={**configuration.recipe, **changed})


def planned_steps(recipe: Mapping[str, Json], rows: int) -> int:
    """Optimiser steps of the full run on one device, as the Trainer counts them.

    Where every row of an epoch would be dropped: as if one step were left.
    """
    if (steps := int(recipe.get("max_steps", -1))) > 0:
        return steps
    return math.ceil(_steps_an_epoch(recipe, rows) * float(recipe.get("num_train_epochs", 3.0)))


def planned_epochs(recipe: Mapping[str, Json], rows: int) -> float:
    """Epochs of the full run; `max_steps` overrules `num_train_epochs`."""
    if (steps := int(recipe.get("max_steps", -1))) > 0:
        return steps / _steps_an_epoch(recipe, rows)
    return float(recipe.get("num_train_epochs", 3.0))


def _steps_an_epoch(recipe: Mapping[str, Json], rows: int) -> int:
    return max(1, math.ceil(batches(recipe, rows) / int(recipe.get(MICRO_BATCH[1], 1))))


def batches(recipe: Mapping[str, Json], rows: int) -> int:
    """Micro-batches of an epoch."""
    whole = math.floor if recipe.get("dataloader_drop_last") else math.ceil
    return whole(rows / int(recipe.get(MICRO_BATCH[0], 8)))


def trainer_arguments(
    recipe: Mapping[str, Json], *, seed: int, total_steps: int, on_cpu: bool
) -> dict[str, Json]:
    """Keyword arguments for TrainingArguments or SFTConfig, `output_dir` apart.

    The recipe's own fields win, but for the seed and for what autopeft does itself: evaluating
    (early stopping apart), saving and reporting.
    """
    arguments: dict[str, Json] = {"logging_steps": max(1, total_steps // _CURVE_POINTS)}
    if on_cpu:
        arguments |= {"use_cpu": True, "bf16": False}
    if recipe.get("packing"):
        # Packs cut rows elsewhere than max_length does: their loss would be that of other texts.
        arguments["eval_packing"] = False
    arguments |= {k: v for k, v in recipe.items() if k not in (*CALLBACK, *ARGUMENTS)}
    arguments |= {
        "seed": seed,
        "report_to": "none",
        "save_strategy": "no",
        "eval_strategy": "no",
        "disable_tqdm": True,
        "label_names": ["labels"],
    }
    stopping = EarlyStopping.of(recipe)
    return arguments if stopping is None else arguments | stopping.arguments(recipe)
