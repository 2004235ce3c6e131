"""Make `domain/peft_fields.json`: the field names and defaults of PEFT and the trainers.

    python -m autopeft.training.peft_table

The table lets a wrong space file be reported before torch or peft load. A test compares it with
what is installed.
"""

import dataclasses
import enum
import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[1] / "domain" / "peft_fields.json"


def table() -> dict[str, dict[str, Any]]:
    """{"peft": {type: {field: default}}, "trainers": the same, "values": {field: [value]}}."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from transformers import SchedulerType, TrainingArguments
    from transformers.training_args import OptimizerNames
    from trl import SFTConfig

    return {
        "peft": {
            str(kind.value): _fields(config)
            for kind, config in sorted(
                PEFT_TYPE_TO_CONFIG_MAPPING.items(), key=lambda item: str(item[0].value)
            )
        },
        "trainers": {
            "transformers.Trainer": _fields(TrainingArguments),
            "trl.SFTTrainer": _fields(SFTConfig),
        },
        "values": {
            "lr_scheduler_type": [kind.value for kind in SchedulerType],
            "optim": [kind.value for kind in OptimizerNames],
        },
    }


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


if __name__ == "__main__":
    PATH.write_text(json.dumps(table(), indent=1, sort_keys=True) + "\n")
