"""What cannot be counted from shapes, and why."""

from collections.abc import Mapping

from autopeft.domain.architecture import Module

UNCOUNTED_TYPES: Mapping[str, str] = {
    "ADAMSS": (
        "which outputs each of its parts writes is clustered anew from the weights on every load, "
        "and PEFT stores none of it: on a base rounded otherwise the loaded adapter is another"
    ),
    "MULTITASK_PROMPT_TUNING": "it needs the task_ids of several tasks, and a study trains one",
    "POLY": "it needs the task_ids of several tasks, and a study trains one",
    "SHADOW": "its second network is built by the model's own class",
    "XLORA": "it chooses among adapters trained before, and PEFT merges it wrongly (0.29)",
}
"""{peft_type: why its size does not follow from shapes}"""

_UNCOUNTED_FIELDS = frozenset(
    {
        "arrow_config",
        "exclude_modules",
        "layer_replication",
        "megatron_config",
        "modules_to_save",
        "monteclora_config",
        "target_parameters",
        "trainable_token_indices",
        "use_qalora",
        "velora_config",
    }
)
"""Fields that train or store something else than the formulas say."""


def refuse_uncounted(module: Module) -> None:
    """Raise ValueError with the reason if the size of a module does not follow from shapes."""
    if reason := UNCOUNTED_TYPES.get(module.peft_type):
        raise ValueError(f"peft_type {module.peft_type} cannot be counted: {reason}")
    found = sorted(_UNCOUNTED_FIELDS & set(module.fields))
    biases = ("none", "lora_only") if module.peft_type == "LORA" else ("none",)
    if module.fields.get("bias", "none") not in biases:
        found.append("bias")  # trains biases outside the adapter, or of what is not a target
    if module.fields.get("boft_n_butterfly_factor", 1) != 1:
        found.append("boft_n_butterfly_factor")  # PEFT drops it where its extension does not build
    if found:
        raise ValueError(
            f"{module.peft_type} cannot be counted exactly with {', '.join(found)}: remove it"
        )
    _refuse_loftq(module)


def _refuse_loftq(module: Module) -> None:
    if module.peft_type == "LORA" and module.fields.get("init_lora_weights") == "loftq":
        raise ValueError(
            "LORA has no init_lora_weights 'loftq' here: it needs bitsandbytes and a CUDA device, "
            "and quantises the base: take true, pissa, eva, corda or lora_ga"
        )
