"""The door by which a tuner enters PEFT, for ours and for those from outside the package.

PEFT finds a method's config class, tuner class and parameter prefix in three mappings by its
`peft_type`. Its own `register_peft_method` refuses names that are not in its enum, so `register`
writes the three entries itself. After that `get_peft_model`, several adapters, `save_pretrained`
and `PeftModel.from_pretrained` serve the new method as any other.
"""

from peft import PeftConfig
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.tuners.tuners_utils import BaseTuner


def register(
    peft_type: str, config_class: type[PeftConfig], tuner_class: type[BaseTuner], *, prefix: str
) -> None:
    """Make a tuner known to PEFT; the same registration again changes nothing.

    Args:
        peft_type: the name in configs and saved adapters, upper case as `LORA`; instances of
            `config_class` must carry it as their `peft_type`.
        config_class: a dataclass derived from `PeftConfig`.
        tuner_class: a `BaseTuner` that wraps modules of the model.
        prefix: what the names of the tuner's parameter containers start with, as `lora_`.

    Raises:
        ValueError: the name is not upper case, or PEFT or another tuner has the name or the prefix.
    """
    if peft_type != peft_type.upper():
        raise ValueError(f"a peft_type is upper case, got {peft_type!r}: use {peft_type.upper()!r}")
    wanted = (config_class, tuner_class, prefix)
    if _registered(peft_type) == wanted:
        return
    _refuse_taken(peft_type, prefix)
    PEFT_TYPE_TO_CONFIG_MAPPING[peft_type] = config_class
    PEFT_TYPE_TO_TUNER_MAPPING[peft_type] = tuner_class
    PEFT_TYPE_TO_PREFIX_MAPPING[peft_type] = prefix


def _registered(peft_type: str) -> tuple[type[PeftConfig], type[BaseTuner], str] | None:
    if peft_type not in PEFT_TYPE_TO_CONFIG_MAPPING:
        return None
    return (
        PEFT_TYPE_TO_CONFIG_MAPPING[peft_type],
        PEFT_TYPE_TO_TUNER_MAPPING[peft_type],
        PEFT_TYPE_TO_PREFIX_MAPPING[peft_type],
    )


def _refuse_taken(peft_type: str, prefix: str) -> None:
    if peft_type in PEFT_TYPE_TO_CONFIG_MAPPING:
        owner = PEFT_TYPE_TO_CONFIG_MAPPING[peft_type]
        raise ValueError(
            f"a peft_type belongs to one tuner, {peft_type!r} is that of "
            f"{owner.__module__}.{owner.__qualname__}: choose another name"
        )
    if prefix in PEFT_TYPE_TO_PREFIX_MAPPING.values():
        raise ValueError(
            f"a prefix belongs to one tuner, {prefix!r} is taken: choose another, "
            f"as {peft_type.lower() + '_'!r}"
        )
