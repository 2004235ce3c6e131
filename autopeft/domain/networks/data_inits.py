"""LoRA initialisations that need a pass over the training split before the first step.

`autopeft.allocation.data_inits` does it.
"""

from autopeft.domain.architecture import Module

DATA_INITS = ("corda", "eva", "lora_ga")
"""Values of `init_lora_weights`."""

_REWRITING = ("corda", "lora_ga")


def data_init(module: Module) -> str | None:
    """Which of them a module starts by; None: it needs no data."""
    init = module.fields.get("init_lora_weights")
    return str(init) if module.peft_type == "LORA" and init in DATA_INITS else None


def rewrites_base(module: Module) -> bool:
    """Whether a module starts by taking something out of the pretrained weights.

    It is stored at twice its rank then, so that it loads onto these weights as they were.
    """
    return data_init(module) in _REWRITING
