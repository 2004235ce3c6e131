"""What PEFT can do, and a trainer cannot train."""

from collections.abc import Mapping

from autopeft.domain.architecture import Configuration
from autopeft.domain.methods.peft_fields import TRAINER_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.recipes.recipe import RecipeError
from autopeft.domain.space import Json

_IN_CACHE = ("CARTRIDGE", "PREFIX_TUNING")
"""Types whose tokens a layer finds in the cache of keys and values, and nowhere else."""

_BEFORE = ("PROMPT_TUNING", "P_TUNING")
"""Types whose tokens stand before those of the text, in the logits too."""

_BESIDE_FLOAT32 = ("ADALORA", "HIRA", "PVERA", "ROAD", "VERA")
"""Types that keep something in float32, which meets the rest of their weights."""

_SFT = "trl.SFTTrainer"

_BY_EVALUATIONS = ("greedy", "reduce_lr_on_plateau")
"""Schedules that follow what is measured meanwhile."""

_ASKING = {
    "cosine_warmup_with_min_lr": ("min_lr_rate", "min_lr"),
    "cosine_with_min_lr": ("min_lr_rate", "min_lr"),
    "warmup_stable_decay": ("num_decay_steps",),
}
"""Schedules that need one of these among their `lr_scheduler_kwargs`."""

_TAKING = {
    "linear": (),
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "inverse_sqrt": ("timescale",),
    "cosine_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"),
    "warmup_stable_decay": (
        *("num_decay_steps", "num_stable_steps", "warmup_type", "decay_type"),
        *("min_lr_ratio", "num_cycles"),
    ),
}
"""What transformers takes among `lr_scheduler_kwargs`, where it fails with anything else."""

_LR_END = 1e-7
"""Where the polynomial schedule ends unless it is told."""

_OF_WORKERS = (
    "dataloader_multiprocessing_context",
    "dataloader_persistent_workers",
    "dataloader_prefetch_factor",
)
"""Fields that PyTorch's DataLoader takes with workers alone."""

_SHARDING = ("fsdp", "parallelism_config")


def refuse_untrainable(configuration: Configuration, shape: ModelShape, trainer: str) -> None:
    """Nothing, unless the trainer cannot train the modules, or anything, with this recipe.

    Raises:
        RecipeError: a field that no trial trains with.
        ValueError: why not.
    """
    recipe = {**TRAINER_DEFAULTS[trainer], **configuration.recipe}
    _refuse_schedule(recipe)
    for kind in (module.peft_type for module in configuration.architecture.modules):
        if trainer == _SFT and (reason := _not_by_sft(kind, shape)):
            raise ValueError(reason)
        _refuse_beside(recipe, kind, trainer)
    _refuse_recipe(recipe, trainer)


def refuse_too_long(configuration: Configuration, shape: ModelShape, longest: int) -> None:
    """Nothing, unless a row and the tokens that stand before it need more positions than there are.

    longest: tokens of a row by `data.max_length`, which was compared without such tokens before; 0:
        the file does not say it.

    Raises:
        ValueError: by how much.
    """
    modules = configuration.architecture.modules
    tokens = sum(m.size or 0 for m in modules if m.peft_type in _IN_CACHE + _BEFORE)
    told = longest if tokens else 0
    told = told or int(configuration.recipe.get("max_length") or 0)
    if shape.positions and told and told + tokens > shape.positions:
        beside = f" beside {tokens} virtual tokens" if tokens else ""
        raise ValueError(
            f"the model has positions for {shape.positions} tokens, got max_length {told}"
            f"{beside}: take {max(1, shape.positions - tokens)} or fewer"
        )


def refuse_unmixed(configuration: Configuration, trainer: str) -> None:
    """Nothing, unless the modules need mixed precision on a quantised base, and there is none.

    Raises:
        ValueError: TRL holds their weights in bfloat16, and they compute beside float32.
    """
    for kind in (module.peft_type for module in configuration.architecture.modules):
        if trainer == _SFT and kind in _BESIDE_FLOAT32:
            raise ValueError(f"{kind} on a quantised base needs bf16: true in training")


def _refuse_schedule(recipe: Mapping[str, Json]) -> None:
    name, given = recipe.get("lr_scheduler_type"), recipe.get("lr_scheduler_kwargs") or {}
    if name in _BY_EVALUATIONS and recipe.get("early_stopping_patience") is None:
        raise RecipeError(
            "lr_scheduler_type",
            f"lr_scheduler_type {name} follows evaluations, which a trial has with "
            "early_stopping_patience alone: add it to training, or take another schedule",
        )
    wanted = _ASKING.get(str(name), ())
    if wanted and isinstance(given, Mapping) and not set(wanted) & set(given):
        raise RecipeError(
            "lr_scheduler_type",
            f"lr_scheduler_type {name} needs {' or '.join(wanted)}: "
            f"add lr_scheduler_kwargs: {{{wanted[0]}: ...}} to training",
        )
    if isinstance(given, Mapping):
        _refuse_arguments(str(name), given, recipe["learning_rate"])


def _refuse_arguments(name: str, given: Mapping[str, Json], learning_rate: Json) -> None:
    """
    Raises:
        RecipeError: the schedule fails with these of its arguments.
    """
    field = "lr_scheduler_kwargs"
    taken = _TAKING.get(name)
    if taken is not None and (unknown := [key for key in given if key not in taken]):
        raise RecipeError(
            field,
            f"lr_scheduler_type {name} takes {', '.join(taken) or 'nothing'} as "
            f"{field}, got {', '.join(unknown)}: remove it, or take another schedule",
        )
    if taken and {"min_lr", "min_lr_rate"} <= {k for k, v in given.items() if v is not None}:
        raise RecipeError(
            field,
            f"lr_scheduler_type {name} takes min_lr or min_lr_rate, got both: remove one of them",
        )
    end = given.get("lr_end", _LR_END)
    if name == "polynomial" and isinstance(end, int | float) and end >= learning_rate:
        raise RecipeError(
            field if "lr_end" in given else "learning_rate",
            f"lr_scheduler_type polynomial ends below learning_rate, got lr_end {end:g} and "
            f"learning_rate {learning_rate:g}: lower lr_end, or raise learning_rate",
        )


def _refuse_recipe(recipe: Mapping[str, Json], trainer: str) -> None:
    """
    Raises:
        RecipeError: a field that fails in every trial.
    """
    for name in _SHARDING:
        if recipe.get(name):
            raise RecipeError(
                name, f"{name} shards the model, which every process has whole: remove it"
            )
    if not recipe.get("dataloader_num_workers"):
        for name in _OF_WORKERS:
            if recipe.get(name):
                raise RecipeError(
                    name,
                    f"{name} is that of the loader's workers, and dataloader_num_workers is 0: "
                    "add dataloader_num_workers: 2, or remove it",
                )
    given = str(recipe.get("optim_args") or "")
    if given and not all(part.count("=") == 1 for part in given.split(",")):
        raise RecipeError(
            "optim_args", f"optim_args takes name=value, name=value, got {given!r}: correct it"
        )
    if trainer != _SFT:
        return
    if recipe["packing"] and recipe["max_length"] is None:
        raise RecipeError(
            "packing", "packing fills rows up to max_length, got null: give a max_length"
        )
    if recipe["padding_free"] and not recipe["packing"] and recipe["max_length"] is not None:
        raise RecipeError(
            "padding_free",
            "padding_free without packing does not cut what is longer than max_length, got "
            f"max_length {recipe['max_length']}: add packing: true, or max_length: null",
        )
    prepared = recipe["dataset_kwargs"]
    if isinstance(prepared, Mapping) and prepared.get("skip_prepare_dataset"):
        raise RecipeError(
            "dataset_kwargs",
            "skip_prepare_dataset trains on rows of tokens, and those of a study are texts: "
            "remove it",
        )


def _not_by_sft(kind: str, shape: ModelShape) -> str | None:
    """TRL computes the loss from the head's weight, without making the logits."""
    if kind == "CPT":
        return (
            "CPT computes its loss from logits, which SFTTrainer does not make: take another method"
        )
    if kind == "ADAPTION_PROMPT":
        return (
            "ADAPTION_PROMPT stands between the model and the head that SFTTrainer gives it: "
            "take another method"
        )
    tied = shape.embeddings is not None and shape.embeddings.copies > 1
    if kind == "TRAINABLE_TOKENS" and tied:
        return (
            "TRAINABLE_TOKENS wraps the head too where the embeddings are tied to it, and "
            "SFTTrainer takes no wrapped head: take another method"
        )
    return None


def _refuse_beside(recipe: Mapping[str, Json], kind: str, trainer: str) -> None:
    """
    Raises:
        RecipeError: a field that does not go with PEFT's prompts.
    """
    name = "gradient_checkpointing"
    if kind in _IN_CACHE and recipe[name]:
        raise RecipeError(
            name,
            f"{kind} does not work with gradient checkpointing: put {name}: false into training",
        )
    if kind not in _IN_CACHE + _BEFORE:
        return
    for name in ("packing", "padding_free"):
        if recipe.get(name):
            raise RecipeError(
                name,
                f"texts in one row see each other under {kind}, got {name} {recipe[name]}: "
                "remove it, or take LAYER_PREFIX",
            )
    smooths = trainer != _SFT or kind in _BEFORE
    for name in (*(("label_smoothing_factor",) if smooths else ()), "neftune_noise_alpha"):
        if recipe[name]:
            raise RecipeError(
                name,
                f"the trainer's {name} does not work with {kind}, got {recipe[name]}: remove it",
            )
