"""The checks of `training:` against the arguments class of its trainer."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from autopeft.config.tree import Complain, options_of, told
from autopeft.config.values import check_value, settle
from autopeft.domain.methods.peft_fields import TRAINER_DEFAULTS, TRAINER_VALUES
from autopeft.domain.nearest import nearest
from autopeft.domain.recipes.stopping import ARGUMENTS, CALLBACK
from autopeft.domain.space import Branch, Json
from autopeft.domain.study import Rungs

OWNED = {
    "batch_eval_metrics": "autopeft evaluates",
    "bf16_full_eval": "a trial is measured in the dtype that it trains in",
    "data_seed": "search.seed is the seed",
    "do_eval": "a trial evaluates",
    "do_predict": "a trial does not predict",
    "do_train": "a trial trains",
    "eval_do_concat_batches": "autopeft evaluates",
    "eval_on_start": "autopeft evaluates at rungs",
    "fp16_full_eval": "a trial is measured in the dtype that it trains in",
    "generation_config": "autopeft evaluates",
    "generation_max_length": "autopeft evaluates",
    "generation_num_beams": "autopeft evaluates",
    "hub_model_id": "export first",
    "ignore_data_skip": "a trial that paused goes on with the rows that are left",
    "label_names": "autopeft knows the labels",
    "predict_with_generate": "autopeft evaluates",
    "push_to_hub": "export first",
    "remove_unused_columns": "autopeft knows the columns",
    "report_to": "autopeft tells MLflow",
    "resume_from_checkpoint": "autopeft pauses and resumes",
    "save_steps": "autopeft keeps checkpoints",
    "save_strategy": "autopeft keeps checkpoints",
    "save_total_limit": "autopeft keeps checkpoints",
    "seed": "search.seed is the seed",
}
"""What autopeft does itself: dropped at the trainer's default, refused at another value."""

SILENT = (
    "disable_tqdm",
    "hub_token",
    "logging_dir",
    "output_dir",
    "push_to_hub_token",
    "run_name",
)
"""What a pasted file always holds and no trial needs: dropped whatever it is."""

_ARGUMENTS = {
    "transformers.Seq2SeqTrainer": "Seq2SeqTrainingArguments",
    "trl.SFTTrainer": "SFTConfig",
}

_CALLBACK = {**CALLBACK, "early_stopping_patience": None}
"""A patience says something whatever it is; `check_stopping` says whether all makes sense."""

_EMPTY: tuple[Json, ...] = (None, "", [], {}, "none", "no")


def fields_of(trainer: str) -> Mapping[str, Json]:
    """The fields that `training:` takes with a trainer, and their defaults."""
    return {**TRAINER_DEFAULTS[trainer], **_CALLBACK}


def check_recipe(
    training: Mapping[str, Json],
    path: str,
    trainer: str,
    complain: Complain,
    *,
    over: Collection[str] = (),
) -> dict[str, Json]:
    """The fields that say something; a whole pasted trainer YAML is fine.

    Args:
        training: a grown tree.
        over: fields of the study's recipe, which a branch may set back to their default.
    """
    defaults = fields_of(trainer)
    arguments = _ARGUMENTS.get(trainer, "TrainingArguments")
    kept: dict[str, Json] = {}
    for name, value in training.items():
        at = f"{path}.{name}"
        if name in SILENT or _masked(name, value):
            continue
        if name not in defaults:
            complain(at, f"{arguments} has no field {name!r}", nearest(name, defaults))
        elif name in OWNED:
            if not _says_nothing(value, defaults[name]):
                message = f"autopeft sets {name} itself ({OWNED[name]}), got {told(value)}"
                complain(at, message, "remove it")
        else:
            check_value(at, name, value, defaults[name], complain)
            _check_known(at, name, value, complain)
            settled = settle(value, defaults[name], name)
            # The learning rate stays: it is what a recipe is first asked for.
            if name in ARGUMENTS and name not in over and _says_nothing(value, defaults[name]):
                continue
            if name in over or name == "learning_rate" or not _at_default(settled, defaults[name]):
                kept[name] = settled
    return kept


def check_pauses(rungs: Rungs | None, branches: Iterable[Branch], complain: Complain) -> None:
    """Complain of rungs at which a trial could not go on with the rows that it has not seen."""
    if rungs is None or (rungs.unit == "epochs" and all(float(at).is_integer() for at in rungs.at)):
        return
    name, grouped = "train_sampling_strategy", "group_by_length"
    recipes: list[Any] = [branch.tree.get("training", {}) for branch in branches]
    if any(option == grouped for r in recipes for _, option in options_of(r.get(name))):
        rule = f"{name}: {grouped} orders an epoch's rows anew when a trial goes on inside it"
        where = f"rungs within epochs, at {rungs.unit} {', '.join(f'{at:g}' for at in rungs.at)}"
        complain("search.rungs", f"{rule}, got {where}", "take whole epochs, or another strategy")


def _masked(name: str, value: Json) -> bool:
    """`to_dict` of transformers writes every *_token as `<NAME_TOKEN>`."""
    return name.endswith("_token") and value == f"<{name.upper()}>"


def _says_nothing(value: Json, default: Json) -> bool:
    return value in _EMPTY or _at_default(value, default)


def _at_default(value: Json, default: Json) -> bool:
    same = value == default and isinstance(value, bool) == isinstance(default, bool)
    return same or (value in ("", [], {}) and default in (None, "", [], {}))


def _check_known(at: str, name: str, value: Json, complain: Complain) -> None:
    known = TRAINER_VALUES.get(name)
    for suffix, option in options_of(value):
        if known and isinstance(option, str) and option not in known:
            complain(
                at + suffix,
                f"{name} has no {option!r}",
                nearest(option, known, f"one of {', '.join(known)}"),
            )
