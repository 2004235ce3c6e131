"""The checks of one module against PEFT's own fields."""

from collections.abc import Mapping

from autopeft.config.layer_sizes import check_by_layer, numbers_of
from autopeft.config.placement import check_layers
from autopeft.config.tree import Complain, options_of, told
from autopeft.config.values import check_value, is_number, is_whole, settle
from autopeft.domain.expression import Expr
from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.nearest import nearest
from autopeft.domain.networks.capabilities import CAPABILITIES, SEARCHABLE
from autopeft.domain.space import Choice, Json, Range, Subset

INITS = (
    True,
    False,
    "gaussian",
    "pissa",
    "olora",
    "orthogonal",
    "mica",
    "eva",
    "corda",
    "lora_ga",
)
DROPPED = (
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_version",
    "revision",
    "task_type",
)
"""What an adapter_config.json holds beside the method: the file's `model:` and the installed PEFT
say it, so it is read over."""

OUTCOMES = {"ADALORA": ("rank_pattern", "total_step")}
"""Fields that an earlier run wrote and every run sets anew."""

_SCALES = ("alpha_pattern", "lambda_pattern")


def check_module(module: Json, path: str, complain: Complain) -> None:
    """Complain of everything the file alone shows; drops in place what says nothing."""
    if not isinstance(module, dict):
        complain(path, f"a module is a mapping with a peft_type, got {told(module)}")
        return
    peft_type = module.get("peft_type")
    if not isinstance(peft_type, str) or peft_type not in SEARCHABLE:
        _refuse_type(peft_type, f"{path}.peft_type", complain)
        return
    for name in (*DROPPED, *OUTCOMES.get(peft_type, ())):
        module.pop(name, None)
    _check_fields(module, path, complain)
    if "layers" in module:
        check_layers(module["layers"], f"{path}.layers", complain)
    _check_size(module, path, complain)
    _check_patterns(module, path, complain)
    _check_variants(module, path, complain)


def _refuse_type(peft_type: Json, at: str, complain: Complain) -> None:
    known = f"one of {', '.join(sorted(SEARCHABLE))}"
    if isinstance(peft_type, Choice | Subset):
        complain(at, "peft_type does not vary inside a branch", "write a branch for each")
    elif peft_type is None:
        complain(at, "a module needs a peft_type, got nothing", known)
    elif isinstance(peft_type, str) and peft_type in CAPABILITIES:
        why = CAPABILITIES[peft_type].unsearchable
        complain(at, f"{peft_type} cannot be searched: {why}", known)
    else:
        hint = nearest(str(peft_type).upper(), sorted(SEARCHABLE), known)
        complain(at, f"{told(peft_type)} is no PEFT type", hint)


def _check_fields(module: dict[str, Json], path: str, complain: Complain) -> None:
    peft_type = module["peft_type"]
    defaults = PEFT_DEFAULTS[peft_type]
    for name, value in module.items():
        if name in ("peft_type", "layers"):
            continue
        at = f"{path}.{name}"
        if name not in defaults:
            complain(at, f"{peft_type} has no field {name!r}", nearest(name, defaults))
            continue
        if check_by_layer(module, name, at, complain):
            for suffix, number in numbers_of(value):
                check_value(at + suffix, name, number, defaults[name], complain)
        module[name] = settle(value, defaults[name], name)


def _check_size(module: Mapping[str, Json], path: str, complain: Complain) -> None:
    peft_type = module["peft_type"]
    field = size_field(peft_type)
    if field not in PEFT_DEFAULTS[peft_type]:
        return
    if field not in module and not PEFT_DEFAULTS[peft_type][field]:
        complain(f"{path}.{field}", f"{peft_type} needs {field}, got nothing")
    for suffix, value in numbers_of(module.get(field, 0)):
        low = value.low if isinstance(value, Range) else value
        whole = value.integer if isinstance(value, Range) else isinstance(low, int)
        if isinstance(value, Expr) or (whole and is_number(low) and low >= 0):
            continue
        complain(
            f"{path}.{field}{suffix}",
            f"{field} takes a whole number, 0 (absent) or more, got {told(value)}",
        )
    if peft_type == "ADALORA":
        _check_ranks(module, path, complain)


def _check_ranks(module: Mapping[str, Json], path: str, complain: Complain) -> None:
    defaults = PEFT_DEFAULTS["ADALORA"]
    first = module.get("init_r", defaults["init_r"])
    last = module.get("target_r", defaults["target_r"])
    if isinstance(first, int) and isinstance(last, int) and 0 < first <= last:
        complain(
            f"{path}.{'target_r' if 'target_r' in module else 'init_r'}",
            f"AdaLoRA needs target_r < init_r, got target_r={last}, init_r={first}",
            "raise init_r or lower target_r",
        )


def _check_patterns(module: Mapping[str, Json], path: str, complain: Complain) -> None:
    """What the fields `rank_pattern`, `alpha_pattern`, ... say of the modules that they match."""
    for name in (n for n in module if n.endswith("_pattern") and n != "layers_pattern"):
        scale = name in _SCALES or module["peft_type"] == "OSF"  # OSF takes a share of a rank
        kind = "a number from 0" if scale else "a whole number from 1"
        for suffix, patterns in options_of(module[name]):
            at = f"{path}.{name}{suffix}"
            if patterns is not None and not isinstance(patterns, Mapping):
                rule = f"takes {{name of a module: {kind}}}, got {told(patterns)}"
                complain(at, rule, "{query: 4}")
                continue
            for pattern, given in (patterns or {}).items():
                for inner, value in options_of(given):
                    low = value.low if isinstance(value, Range) else value
                    whole = value.integer if isinstance(value, Range) else is_whole(low)
                    if isinstance(value, Expr) or (
                        is_number(low) and low >= (0 if scale else 1) and (scale or whole)
                    ):
                        continue
                    complain(f"{at}.{pattern}{inner}", f"{name} takes {kind}, got {told(value)}")


def _check_variants(module: Mapping[str, Json], path: str, complain: Complain) -> None:
    """Fields of which this version takes some values only."""
    if module["peft_type"] == "LORA":
        for suffix, init in options_of(module.get("init_lora_weights", True)):
            if init not in INITS:
                complain(
                    f"{path}.init_lora_weights{suffix}",
                    f"this version has no initialisation {told(init)}",
                    nearest(init, map(str, INITS), f"one of {', '.join(map(str, INITS))}"),
                )
    biases = ("none", "lora_only") if module["peft_type"] == "LORA" else ("none",)
    for suffix, bias in options_of(module.get("bias", "none")):
        if isinstance(bias, str) and bias not in biases:
            complain(f"{path}.bias{suffix}", f"takes {' or '.join(biases)}, got {bias!r}")
