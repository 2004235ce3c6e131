"""`load_in_4bit: true`: QLoRA by one line, by the name that TRL's ModelConfig gives it."""

from collections.abc import Mapping
from typing import Any

from autopeft.config.tree import Complain, told

_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "load_in_4bit": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16",
    },
    "load_in_8bit": {"load_in_8bit": True},
}
"""4 bits as in Dettmers et al. 2023 (arXiv 2305.14314): NormalFloat, quantised constants."""

SHORT = tuple(_CONFIGS)


def written_out(model: Mapping[str, Any], complain: Complain) -> dict[str, Any]:
    """The file's `model:` with the quantization_config that a short form stands for."""
    rest = {key: value for key, value in model.items() if key not in SHORT}
    given = [key for key in SHORT if key in model]
    for key in given:
        if not isinstance(model[key], bool):
            complain(f"model.{key}", f"takes true or false, got {told(model[key])}")
    wanted = [key for key in given if model[key] is True]
    if not wanted:
        return rest
    if len(wanted) > 1:
        complain(f"model.{wanted[1]}", f"one of {' and '.join(SHORT)} is true, got both")
    if "quantization_config" in model:
        rule = "stands for a quantization_config, got one beside it"
        complain(f"model.{wanted[0]}", rule, f"put {wanted[0]}: true into quantization_config")
        return rest
    return {**rest, "quantization_config": dict(_CONFIGS[wanted[0]])}
