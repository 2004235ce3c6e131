"""The checks of one branch: modules against PEFT's own fields, the recipe against the trainer's."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from autopeft.config.tree import Complain, grow, options_of
from autopeft.domain.allocation import ALLOCATIONS
from autopeft.domain.architecture import SIZE_FIELDS
from autopeft.domain.counting import COUNTED
from autopeft.domain.peft_fields import PEFT_DEFAULTS, TRAINER_DEFAULTS
from autopeft.domain.space import Bits, Choice, Expr, Json, Range, Subset, check_expression

_KEYS = ("modules", "layers", "allocation", "training", "full_fine_tuning")
_INITS = (True, False, "gaussian", "pissa", "olora", "orthogonal")
_DROPPED = {
    "auto_mapping": "the model decides it",
    "base_model_name_or_path": "model: names the base",
    "inference_mode": "a trial trains",
    "peft_version": "the installed PEFT counts",
    "revision": "model: names it",
    "task_type": "model: names it",
}
"""What an adapter_config.json holds beside the method; read over, whatever its value."""

_OWNED = {
    "output_dir": "the study keeps its files",
    "logging_dir": "the study keeps its files",
    "run_name": "autopeft names the runs",
    "seed": "search.seed is the seed",
    "data_seed": "search.seed is the seed",
    "report_to": "autopeft tells MLflow",
    "push_to_hub": "export first",
    "push_to_hub_token": "export first",
    "hub_token": "export first",
    "resume_from_checkpoint": "autopeft pauses and resumes",
    "save_strategy": "autopeft keeps checkpoints",
    "save_steps": "autopeft keeps checkpoints",
    "save_total_limit": "autopeft keeps checkpoints",
    "eval_strategy": "autopeft evaluates at rungs",
    "eval_steps": "autopeft evaluates at rungs",
    "load_best_model_at_end": "the end of training is what is measured",
    "disable_tqdm": "autopeft shows the progress",
    "do_train": "a trial trains",
    "do_eval": "a trial evaluates",
    "do_predict": "a trial does not predict",
    "label_names": "autopeft knows the labels",
    "remove_unused_columns": "autopeft knows the columns",
}
_SILENT = (
    "output_dir",
    "logging_dir",
    "run_name",
    "hub_token",
    "push_to_hub_token",
    "disable_tqdm",
)
_LITERAL = (str, int, float, bool, type(None))


def check_recipe(
    training: Mapping[str, Json], path: str, trainer: str, complain: Complain
) -> dict[str, Json]:
    """Training arguments as a tree; a whole pasted trainer YAML is fine.

    Fields that autopeft does itself are dropped at their default and refused at another value.
    """
    defaults = TRAINER_DEFAULTS[trainer]
    kept: dict[str, Json] = {}
    for name, value in training.items():
        at = f"{path}.{name}"
        if name not in defaults:
            _unknown(
                at, name, defaults, trainer.replace("Trainer", "Trainer's arguments"), complain
            )
        elif name in _OWNED:
            if name not in _SILENT and value not in (defaults[name], None, [], "none"):
                complain(at, f"autopeft sets {name} itself: {_OWNED[name]}", "remove it")
        else:
            grown = value if _is_tree(value) else grow(value, at, complain)
            for suffix, option in options_of(grown):
                _type(at + suffix, name, option, defaults[name], complain)
            if (
                not isinstance(grown, _LITERAL)
                or grown != defaults[name]
                or name == "learning_rate"
            ):
                kept[name] = grown
    return kept


def check_branch(tree: dict[str, Json], path: str, trainer: str, complain: Complain) -> None:
    """Check a grown branch; normalises its training in place."""
    for key in tree:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"a branch takes {', '.join(_KEYS)}"
            complain(_join(path, key), f"a branch has no {key!r}", hint)
    training = tree.get("training")
    if isinstance(training, Mapping):
        tree["training"] = check_recipe(training, _join(path, "training"), trainer, complain)
    else:
        complain(_join(path, "training"), f"takes a mapping, got {training!r}")
    modules = tree.get("modules", [])
    full = tree.get("full_fine_tuning", False)
    at = _join(path, "modules")
    if not isinstance(full, bool):
        complain(_join(path, "full_fine_tuning"), f"takes true or false, got {full!r}")
    if not isinstance(modules, list) or (not modules and not full):
        complain(at, f"takes a list of one module with a peft_type, got {modules!r}")
        return
    if full and modules:
        complain(at, "full_fine_tuning trains the whole model: remove the modules or it")
    if len(modules) > 1:
        complain(
            at, f"this version takes one module a branch, got {len(modules)}: split the branch"
        )
    for i, module in enumerate(modules):
        _check_module(module, f"{at}[{i}]", complain)
    _check_layers(tree.get("layers", "all"), _join(path, "layers"), complain)
    _check_allocation(tree, path, complain)
    _check_expressions(tree, path, complain)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _is_tree(value: Json) -> bool:
    return isinstance(value, Choice | Range | Subset | Expr | Bits)


def _unknown(at: str, name: str, known: Mapping[str, Any], owner: str, complain: Complain) -> None:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    complain(at, f"{owner} has no field {name!r}", f"did you mean {near[0]}?" if near else "")


def _check_module(module: Json, path: str, complain: Complain) -> None:
    if not isinstance(module, dict):
        complain(path, f"a module is a mapping with a peft_type, got {module!r}")
        return
    peft_type = module.get("peft_type")
    if peft_type not in COUNTED:
        known = ", ".join(sorted(COUNTED))
        near = difflib.get_close_matches(str(peft_type).upper(), COUNTED, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"this version has {known}"
        what = "is not supported yet" if peft_type in PEFT_DEFAULTS else "is no PEFT type"
        complain(f"{path}.peft_type", f"{peft_type!r} {what}", hint)
        return
    defaults = PEFT_DEFAULTS[peft_type]
    for name in [name for name in module if name in _DROPPED]:
        del module[name]
    for name, value in list(module.items()):
        at = f"{path}.{name}"
        if name in ("peft_type", "layers"):
            continue
        if name not in defaults:
            _unknown(at, name, defaults, peft_type, complain)
            continue
        # What PEFT wrote at its default says nothing.
        if isinstance(value, (list, dict, *_LITERAL)) and value == defaults[name]:
            if name not in ("r", "init_r", "target_r", "target_modules"):
                del module[name]
            continue
        for suffix, option in options_of(value):
            _type(at + suffix, name, option, defaults[name], complain)
    if "layers" in module:
        _check_layers(module["layers"], f"{path}.layers", complain)
    size = SIZE_FIELDS.get(peft_type, "r")
    if size in defaults and not (size in module or defaults[size]):
        complain(f"{path}.{size}", f"{peft_type} needs {size}, got nothing")
    for suffix, value in options_of(module.get(size)):
        least = value.low if isinstance(value, Range) else value
        if isinstance(least, int | float) and not isinstance(least, bool) and least < 0:
            complain(f"{path}.{size}{suffix}", f"a size is 0 (absent) or more, got {least}")
    for suffix, init in options_of(module.get("init_lora_weights", True)):
        if peft_type == "LORA" and init not in _INITS:
            complain(
                f"{path}.init_lora_weights{suffix}",
                f"this version has {', '.join(map(str, _INITS))}, got {init!r}",
            )
    if peft_type == "ADALORA":
        _check_ranks(module, path, complain)
    if module.get("bias", "none") not in ("none", "lora_only"):
        complain(f"{path}.bias", f"takes none or lora_only, got {module['bias']!r}")
    if module.get("modules_to_save"):
        complain(f"{path}.modules_to_save", "the head is saved anyway, and only it: remove it")


def _check_ranks(module: Mapping[str, Json], path: str, complain: Complain) -> None:
    ranks = [module.get("target_r", 8), module.get("init_r", 12)]
    if all(isinstance(rank, int) for rank in ranks) and not ranks[0] < ranks[1]:
        complain(
            f"{path}.target_r" if "target_r" in module else f"{path}.init_r",
            f"AdaLoRA needs target_r < init_r, got target_r={ranks[0]}, init_r={ranks[1]}",
            "raise init_r or lower target_r",
        )


def _type(at: str, name: str, value: Json, default: Json, complain: Complain) -> None:
    """Refuse a text for a number and the like; only where the default shows the type."""
    values: list[Any] = [value]
    if isinstance(value, Range):
        values = [value.low, value.high]
    for got in values:
        if got is None or not isinstance(got, _LITERAL) or isinstance(default, str | None):
            continue
        number = isinstance(got, int | float) and not isinstance(got, bool)
        if isinstance(default, bool):
            fine = isinstance(got, bool | str)  # init_lora_weights takes both
            wanted = "true or false"
        elif isinstance(default, int):
            fine = number and (
                float(got or 0).is_integer() or name in ("num_train_epochs", "warmup_steps")
            )
            wanted = "a whole number"
        elif isinstance(default, float):
            fine, wanted = number, "a number"
        else:
            continue
        if not fine:
            complain(at, f"{name} takes {wanted}, got {got!r}")


def _check_layers(layers: Json, path: str, complain: Complain) -> None:
    for suffix, value in options_of(layers):
        match value:
            case "all" | {"bits": "shared" | "own"}:
                continue
            case {"first": k} | {"last": k} if len(value) == 1:
                for inner, option in options_of(k):
                    low = option.low if isinstance(option, Range) else option
                    if not isinstance(low, int) or isinstance(low, bool) or low < 1:
                        complain(path + suffix + inner, f"takes a number of layers, got {low!r}")
            case {"range": [int(a), int(b)]} if 0 <= a <= b and len(value) == 1:
                continue
            case list(numbers) if numbers and all(isinstance(n, int) for n in numbers):
                continue
            case _:
                complain(
                    path + suffix,
                    "layers takes all, {first: k}, {last: k}, {range: [a, b]} with a <= b, "
                    f"{{bits: shared}}, {{bits: own}} or a list of numbers, got {value!r}",
                )


def _check_allocation(tree: Mapping[str, Json], path: str, complain: Complain) -> None:
    at = _join(path, "allocation")
    types = {m.get("peft_type") for m in tree.get("modules", []) if isinstance(m, Mapping)}
    for suffix, value in options_of(tree.get("allocation", "uniform")):
        name = value
        if isinstance(value, Mapping) and len(value) == 1:
            ((name, options),) = value.items()
            for field in options or {}:
                if field not in PEFT_DEFAULTS["ADALORA"]:
                    _unknown(
                        f"{at}{suffix}.{name}.{field}",
                        field,
                        PEFT_DEFAULTS["ADALORA"],
                        "adalora",
                        complain,
                    )
        if name not in ALLOCATIONS:
            known = " and ".join(ALLOCATIONS)
            complain(at + suffix, f"this version has {known}, got {name!r}")
        elif name == "adalora" and types != {"LORA"}:
            complain(
                at + suffix, f"adalora allocates LORA modules, got {', '.join(map(str, types))}"
            )


def _check_expressions(tree: Mapping[str, Json], path: str, complain: Complain) -> None:
    """Every name of an expression has to be a field of the branch."""
    fields = set(_field_names(tree))
    for at, expression in _expressions(tree, path):
        for name in sorted(check_expression(expression.text) - fields):
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.3)
            complain(
                at,
                f"the expression {expression.text!r} names {name!r}, which is no field here",
                f"did you mean {near[0]}?" if near else "",
            )


def _field_names(tree: Json) -> Iterator[str]:
    match tree:
        case Mapping():
            for key, value in tree.items():
                yield str(key)
                yield from _field_names(value)
        case list():
            for value in tree:
                yield from _field_names(value)
        case Choice():
            for value in tree.options:
                yield from _field_names(value)


def _expressions(tree: Json, path: str) -> Iterator[tuple[str, Expr]]:
    match tree:
        case Expr():
            yield path, tree
        case Mapping():
            for key, value in tree.items():
                yield from _expressions(value, _join(path, str(key)))
        case list():
            for i, value in enumerate(tree):
                yield from _expressions(value, f"{path}[{i}]")
        case Choice():
            for i, value in enumerate(tree.options):
                yield from _expressions(value, f"{path}.choice[{i}]")
