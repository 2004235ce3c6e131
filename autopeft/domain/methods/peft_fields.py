"""The fields of PEFT's configs and of the trainers' arguments, with their defaults.

A generated table (`python -m autopeft.training.peft_table`), so that a space file is checked
without importing torch or peft.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from autopeft.domain.space import Json

_TABLE = json.loads((Path(__file__).with_name("peft_fields.json")).read_text())

PEFT_DEFAULTS: Mapping[str, Mapping[str, Json]] = _TABLE["peft"]
"""{peft_type: {field: default}}"""

TRAINER_DEFAULTS: Mapping[str, Mapping[str, Json]] = _TABLE["trainers"]
"""{trainer: {field of its arguments class: default}}"""

TRAINER_VALUES: Mapping[str, tuple[str, ...]] = {
    field: tuple(values) for field, values in _TABLE["values"].items()
}
"""{field of an arguments class: its known values}"""

PEFT_TARGETS: Mapping[str, Mapping[str, Json]] = {
    peft_type: group["modules"] for group in _TABLE["targets"] for peft_type in group["types"]
}
"""{peft_type: {model_type: the target_modules that PEFT takes where a config names none}}"""
