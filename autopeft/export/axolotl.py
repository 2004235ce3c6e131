"""A trial as a configuration of Axolotl: `axolotl train axolotl.yaml`.

Its names are those of Axolotl 0.19 (`axolotl.utils.schemas`), and what it makes of them is read
from `axolotl.loaders.adapter`, `axolotl.core.builders.base` and `axolotl.utils.config`.
"""

from collections.abc import Mapping
from typing import Any

from autopeft.domain.space import Json
from autopeft.export.foreign import Asked, Word, only, refuse, translated, whole, with_defaults
from autopeft.export.script import yaml_text

_MODULE: Mapping[str, Word] = {
    "peft_type": Word("", only("LORA")),
    "task_type": Word("", only("CAUSAL_LM")),
    "r": Word("lora_r"),
    "lora_alpha": Word("lora_alpha", whole, int),
    "lora_dropout": Word("lora_dropout"),
    "bias": Word("", only("none")),
    "target_modules": Word("lora_target_modules"),
    "target_parameters": Word("lora_target_parameters"),
    "modules_to_save": Word("lora_modules_to_save"),
    "rank_pattern": Word("lora_rank_pattern"),
    "alpha_pattern": Word(
        "lora_alpha_pattern",
        lambda pattern: all(map(whole, pattern.values())),
        lambda pattern: {name: int(alpha) for name, alpha in pattern.items()},
    ),
    "layer_replication": Word("peft_layer_replication"),
    "trainable_token_indices": Word("peft_trainable_token_indices"),
    "ensure_weight_tying": Word("peft_ensure_weight_tying"),
    "use_dora": Word("peft_use_dora"),
    "use_rslora": Word("peft_use_rslora"),
    "init_lora_weights": Word("peft_init_lora_weights", bool),  # false is taken for unset
}
_TRAINING: Mapping[str, Word] = {
    **{
        name: Word(name)
        for name in (
            *("learning_rate", "weight_decay", "max_grad_norm", "seed", "gradient_checkpointing"),
            *("adam_beta1", "adam_beta2", "adam_epsilon", "lr_scheduler_kwargs", "save_strategy"),
            *("gradient_accumulation_steps", "gradient_checkpointing_kwargs", "optim_args"),
            *("optim_target_modules", "neftune_noise_alpha", "tf32", "torch_compile"),
            *("torch_compile_backend", "torch_compile_mode", "dataloader_num_workers"),
            *("dataloader_drop_last", "dataloader_pin_memory", "dataloader_prefetch_factor"),
            *("activation_offloading", "deepspeed", "dataset_num_proc", "pad_to_multiple_of"),
        )
    },
    "num_train_epochs": Word("num_epochs"),
    "max_steps": Word("max_steps", write=lambda steps: steps if steps > 0 else None),
    "per_device_train_batch_size": Word("micro_batch_size"),
    "per_device_eval_batch_size": Word("eval_batch_size"),
    "optim": Word("optimizer"),
    "lr_scheduler_type": Word("lr_scheduler"),
    "max_length": Word("sequence_len"),
    "packing": Word("sample_packing"),
    "eval_packing": Word("eval_sample_packing"),
    # Said elsewhere: steps in `_recipe`, dtypes in `_precision`, what is learnt in `_data`.
    **{name: Word("") for name in ("warmup_steps", "bf16", "fp16")},
    **{name: Word("") for name in ("assistant_only_loss", "completion_only_loss", "use_cpu")},
    "truncation_mode": Word("", only("keep_start")),
    "pad_token": Word(""),
}
_EFFECTIVE = (
    *("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "optim"),
    *("gradient_accumulation_steps", "lr_scheduler_type", "weight_decay", "max_grad_norm"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "max_length", "packing"),
    "gradient_checkpointing",
)
"""Written whether the file says them or not: the tools' defaults differ."""
_MODEL: Mapping[str, Word] = {
    "revision": Word("revision_of_model"),
    "trust_remote_code": Word("trust_remote_code"),
    "attn_implementation": Word("attn_implementation"),
    "use_safetensors": Word(""),
    "dtype": Word(""),
    "quantization_config": Word(""),
}
_PRECISIONS = {
    ("bfloat16", "bfloat16"): {"bf16": True, "fp16": False},
    ("float16", "float16"): {"bf16": False, "fp16": True},
    ("bfloat16", None): {"bfloat16": True, "bf16": False, "fp16": False},
    ("float16", None): {"float16": True, "bf16": False, "fp16": False},
    ("float32", None): {"bf16": False, "fp16": False, "float32": True},
}
"""(dtype of the weights, of mixed precision) -> how Axolotl says it; it has no others."""
_4BIT = {
    "bnb_4bit_compute_dtype": "float32",
    "bnb_4bit_quant_type": "fp4",
    "bnb_4bit_use_double_quant": False,
}
"""transformers' defaults; Axolotl's are others."""


def axolotl_yaml(asked: Asked) -> str:
    """The text of axolotl.yaml, read from the folder that holds `data/`.

    Raises:
        ExportError: with every field that Axolotl cannot express.
    """
    told: dict[str, Any] = {"base_model": asked.name}
    lacks: list[str] = []
    parts = (_model(asked), _precision(asked), _module(asked), _recipe(asked), _data(asked))
    for part, missing in parts:
        told |= part
        lacks += missing
    refuse("axolotl", asked, lacks)
    told |= {"val_set_size": 0, "output_dir": "retrained"}
    return yaml_text(told)


def _model(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    told, lacks = translated("model", asked.model, _MODEL)
    quantised = dict(asked.model.get("quantization_config") or {})
    if quantised.pop("load_in_4bit", False):
        told |= {"load_in_4bit": True, "bnb_config_kwargs": {**_4BIT, **quantised}}
    elif quantised.pop("load_in_8bit", False):
        told["load_in_8bit"] = True
        lacks += [f"model.quantization_config.{name}" for name in quantised]
    elif quantised:
        lacks.append("model.quantization_config")
    return told, lacks


def _precision(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    found = _PRECISIONS.get((str(asked.dtype), asked.mixed))
    if found is None:
        return {}, [f"model.dtype {asked.dtype} with mixed precision in {asked.mixed}"]
    return dict(found), []


def _module(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    if not asked.module:
        return {}, []
    if asked.module["peft_type"] != "LORA":
        return {}, [f"peft_type {asked.module['peft_type']}"]
    module = with_defaults(asked.module, "r", "lora_alpha", "lora_dropout")
    four = (asked.model.get("quantization_config") or {}).get("load_in_4bit")
    told, lacks = translated("modules", module, _MODULE)
    return {"adapter": "qlora" if four else "lora", **told}, lacks


def _recipe(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    effective = {name: asked.recipe(name) for name in _EFFECTIVE}
    told, lacks = translated("training", {**effective, **asked.training}, _TRAINING)
    if asked.warmup_steps == 1:
        lacks.append("training.warmup_steps = 1, of which it makes 2")
    told = {name: value for name, value in told.items() if value is not None}
    return {**told, "warmup_steps": asked.warmup_steps}, lacks


def _data(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """Rows as they lie in `data/`, with the loss where TRL puts it."""
    lacks = [f"data.columns.{name}" for name in asked.columns if name in _NOT_READ]
    told: dict[str, Any] = {}
    how: dict[str, Json]
    if "messages" in asked.columns:
        how = {"type": "chat_template", "field_messages": "messages"}
        told["chat_template"] = "tokenizer_default"
        # Axolotl learns the assistant's turns alone; TRL all of the text, unless it is told.
        if not asked.recipe("assistant_only_loss"):
            told["train_on_inputs"] = True
    elif "prompt" in asked.columns:
        if asked.conversations:
            lacks.append("data.columns.prompt of messages")
        words = {"field_instruction": "prompt", "field_output": "completion"}
        plain = {"format": "{instruction}", "no_input_format": "{instruction}"}
        how = {"type": {**words, **plain}}
        told["train_on_inputs"] = asked.recipe("completion_only_loss") is False
    else:
        how = {"type": "completion", "field": "text"}
    for ours, theirs in (("train", "datasets"), ("validation", "test_datasets")):
        told[theirs] = [
            {"path": "json", "data_files": [f"data/{ours}.jsonl"], "split": "train", **how}
        ]
    return told, lacks


_NOT_READ = ("tools", "chat_template_kwargs")
