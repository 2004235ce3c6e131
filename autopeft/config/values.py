"""One value of a PEFT or trainer field: its type, as the default shows it, and its bounds."""

from collections.abc import Mapping
from math import inf
from typing import Any

from autopeft.config.tree import Complain, options_of, told
from autopeft.domain.expression import Expr
from autopeft.domain.space import Choice, Json, Range, Subset

_REAL = ("logging_steps", "lora_alpha", "warmup_steps")
"""Fields with a whole default that take any number: a share of the run, a scale."""

_WHOLE = "a whole number"

_OPEN = ("debug", "fsdp", "include_num_input_tokens_seen", "pad_to_multiple_of")
"""Fields whose default does not tell their type."""

ABOVE: Mapping[str, float] = {"learning_rate": 0, "logging_steps": 0, "num_train_epochs": 0}
BELOW: Mapping[str, float] = {"adam_beta1": 1, "adam_beta2": 1}
LEAST: Mapping[str, float] = {
    "adam_beta1": 0,
    "adam_beta2": 0,
    "adam_epsilon": 0,
    "dataloader_num_workers": 0,
    "deltaT": 1,
    "gradient_accumulation_steps": 1,
    "lora_alpha": 0,
    "lora_dropout": 0,
    "max_grad_norm": 0,
    "max_length": 2,  # a token is told by the one before it
    "neftune_noise_alpha": 0,
    "pad_to_multiple_of": 1,
    "per_device_eval_batch_size": 1,
    "per_device_train_batch_size": 1,
    "tfinal": 0,
    "tinit": 0,
    "warmup_steps": 0,
    "weight_decay": 0,
}
MOST: Mapping[str, float] = {"lora_dropout": 1, "num_train_epochs": 1_000_000}

_NO_STEPS = -1
"""The `max_steps` of a run that counts epochs."""

_NEVER_NULL = (ABOVE.keys() | LEAST) - {"max_length", "neftune_noise_alpha", "pad_to_multiple_of"}
"""Fields that a trial cannot do without; of most others null is the library's own default."""


def check_value(at: str, name: str, value: Json, default: Json, complain: Complain) -> None:
    """Complain of every option of a value that the field cannot take."""
    for suffix, option in options_of(value):
        kind = wanted(name, default)
        if option is None and name in _NEVER_NULL:
            hint = "0 clips nothing" if name == "max_grad_norm" else "remove it"
            complain(at + suffix, f"{name} takes {kind}, got null", hint)
        if option is None or isinstance(option, Expr):
            continue
        if kind and not _is(option, kind, name):
            hint = f"write {{choice: {told(option)}}}" if isinstance(option, list) else ""
            complain(at + suffix, f"{name} takes {kind}, got {told(option)}", hint)
            continue
        _bounds(at + suffix, name, option, complain)


def settle(value: Json, default: Json, name: str) -> Json:
    """A number as the field has it, whole or a float, so that 3 and 3.0 are one recipe."""
    if isinstance(value, Choice):
        return Choice(tuple(settle(option, default, name) for option in value.options))
    if isinstance(value, float) and value.is_integer() and wanted(name, default) == _WHOLE:
        return int(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any, least: float = -inf) -> bool:
    """Whether it is a whole number, and not below the least."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def wanted(name: str, default: Json) -> str:
    """What a field takes, in words, as its default shows it; "" where that does not."""
    if name in _OPEN:
        return ""
    match default:
        case bool():
            return "true or false"
        case int() if name not in _REAL:
            return _WHOLE
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case _:
            return ""


def _is(value: Json, wanted: str, name: str) -> bool:
    if isinstance(value, Range):
        return wanted == "a number" or (wanted == _WHOLE and value.integer)
    if isinstance(value, Subset):
        return False
    if wanted == "true or false":
        return isinstance(value, bool) or (name.startswith("init") and isinstance(value, str))
    if wanted == "a text":
        return isinstance(value, str)
    if wanted == "a number":
        return is_number(value)
    return is_number(value) and float(value).is_integer()


def _bounds(at: str, name: str, value: Json, complain: Complain) -> None:
    low, high = (value.low, value.high) if isinstance(value, Range) else (value, value)
    if not is_number(low):
        return
    if name in ABOVE and low <= ABOVE[name]:
        complain(at, f"{name} is above {ABOVE[name]}, got {low}")
    if name in BELOW and high >= BELOW[name]:
        complain(at, f"{name} is below {BELOW[name]}, got {high}")
    if name in LEAST and low < LEAST[name]:
        complain(at, f"{name} is at least {LEAST[name]}, got {low}")
    if name == "max_steps" and low < 1 and value != _NO_STEPS:
        rule = f"{name} is at least 1, or {_NO_STEPS} where num_train_epochs counts, got {low}"
        complain(at, rule)
    if name in MOST and high > MOST[name]:
        complain(at, f"{name} is at most {MOST[name]}, got {high}")
