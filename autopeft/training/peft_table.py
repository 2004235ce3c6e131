"""Make `domain/methods/peft_fields.json`: the field names and defaults of PEFT and the trainers.

    python -m autopeft.training.peft_table

The table lets a wrong space file be reported before torch or peft load. A test compares it with
what is installed.
"""

import dataclasses
import enum
import json
import re
from pathlib import Path
from typing import Any

_LOG_LEVELS = ["detail", "debug", "info", "warning", "error", "critical", "passive"]
_TAKEN = {
    "dataloader_multiprocessing_context": ["fork", "spawn", "forkserver"],
    "log_level": _LOG_LEVELS,
    "log_level_replica": _LOG_LEVELS,
    "logging_strategy": ["no", "steps", "epoch"],
    "loss_type": ["nll", "dft", "chunked_nll"],
    "packing_strategy": ["bfd", "bfd_split", "wrapped"],
    "train_sampling_strategy": ["random", "sequential", "group_by_length", "batch_rebalance"],
    "truncation_mode": ["keep_start", "keep_end"],
}
"""What the trainers compare texts with, where no enumeration of theirs has it."""

_LIST = re.compile(r"\[[^\[\]{}]*\]")
PATH = Path(__file__).parents[1] / "domain" / "methods" / "peft_fields.json"


def table() -> dict[str, Any]:
    """What the table holds.

    {"peft": {type: {field: default}}, "trainers": the same, "values": {field: [value]},
    "targets": [{"types": [type], "modules": {model_type: target_modules}}]}
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from transformers import SchedulerType, Seq2SeqTrainingArguments, TrainingArguments
    from transformers.training_args import OptimizerNames
    from trl import SFTConfig

    import autopeft.tuners  # noqa: F401 (ours are known to PEFT once this is imported)

    return {
        "peft": {
            _name(kind): _fields(config)
            for kind, config in sorted(
                PEFT_TYPE_TO_CONFIG_MAPPING.items(), key=lambda item: _name(item[0])
            )
        },
        "trainers": {
            "transformers.Trainer": _fields(TrainingArguments),
            "transformers.Seq2SeqTrainer": _fields(Seq2SeqTrainingArguments),
            "trl.SFTTrainer": _fields(SFTConfig),
        },
        "values": {
            "lr_scheduler_type": [kind.value for kind in SchedulerType],
            "optim": [kind.value for kind in OptimizerNames],
            **_TAKEN,
        },
        "targets": _default_targets(),
    }


def _default_targets() -> list[dict[str, Any]]:
    """What PEFT targets where a config names nothing, once for all types that do the same."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING

    found = {
        _name(kind): getattr(tuner, "target_module_mapping", None)
        for kind, tuner in PEFT_TYPE_TO_TUNER_MAPPING.items()
    }
    found["IA3"] = TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
    groups: list[dict[str, Any]] = []
    for kind, mapping in sorted(found.items()):
        modules = _plain(mapping or {})
        same = next((group for group in groups if group["modules"] == modules), None)
        if same is not None:
            same["types"].append(kind)
        elif modules:
            groups.append({"types": [kind], "modules": modules})
    return groups


def _name(peft_type: Any) -> str:
    return str(peft_type.value if isinstance(peft_type, enum.Enum) else peft_type)


def _fields(config: type[Any]) -> dict[str, Any]:
    return {field.name: _default(field) for field in dataclasses.fields(config) if field.init}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        value: Any = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return None
    return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case enum.Enum():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [_plain(item) for item in value]
        case _:
            return None


def text() -> str:
    """The table as the file holds it: a line a value, also where that is a list."""
    return _LIST.sub(_one_line, json.dumps(table(), indent=1, sort_keys=True)) + "\n"


def _one_line(found: re.Match[str]) -> str:
    return json.dumps(json.loads(found[0]))


if __name__ == "__main__":
    PATH.write_text(text())
