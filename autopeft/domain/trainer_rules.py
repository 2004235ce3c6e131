"""What PEFT can do, and a trainer cannot train."""

from autopeft.domain.architecture import Configuration, Module
from autopeft.domain.model import ModelShape
from autopeft.domain.peft_fields import TRAINER_DEFAULTS

_IN_CACHE = ("CARTRIDGE", "PREFIX_TUNING")
"""Types whose tokens a layer finds in the cache of keys and values, and nowhere else."""

_BEFORE = ("PROMPT_TUNING", "P_TUNING")
"""Types whose tokens stand before those of the text, in the logits too."""

_SMOOTHING = "label_smoothing_factor"
_CHECKPOINTING = "gradient_checkpointing"
_SFT = "trl.SFTTrainer"


def refuse_untrainable(configuration: Configuration, shape: ModelShape, trainer: str) -> None:
    """Nothing, unless the trainer with this recipe cannot train the modules.

    Raises:
        ValueError: why not.
    """
    default = TRAINER_DEFAULTS[trainer][_CHECKPOINTING]
    computes_again = configuration.recipe.get(_CHECKPOINTING, default)
    for module in configuration.architecture.modules:
        if computes_again and module.peft_type in _IN_CACHE:
            raise ValueError(
                f"{module.peft_type} does not work with gradient checkpointing: "
                f"put {_CHECKPOINTING}: false into training"
            )
        if trainer == _SFT and (reason := _not_by_sft(module, shape)):
            raise ValueError(f"{reason}: take another method")
        smoothing = configuration.recipe.get(_SMOOTHING, 0)
        if trainer == _SFT and smoothing and module.peft_type in _BEFORE:
            raise ValueError(
                f"{module.peft_type} puts tokens before the text, which SFTTrainer's label "
                f"smoothing has no labels for, got {_SMOOTHING} {smoothing}: remove it"
            )


def _not_by_sft(module: Module, shape: ModelShape) -> str | None:
    """TRL computes the loss from the head's weight, without making the logits."""
    if module.peft_type == "CPT":
        return "CPT computes its loss from logits, which SFTTrainer does not make"
    if module.peft_type == "ADAPTION_PROMPT":
        return "ADAPTION_PROMPT stands between the model and the head that SFTTrainer gives it"
    tied = shape.embeddings is not None and shape.embeddings.copies > 1
    if module.peft_type == "TRAINABLE_TOKENS" and tied:
        return (
            "TRAINABLE_TOKENS wraps the head too where the embeddings are tied to it, and "
            "SFTTrainer takes no wrapped head"
        )
    return None
