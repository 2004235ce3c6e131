"""A trial as a configuration of LLaMA-Factory: `llamafactory-cli train llama_factory.yaml`.

Its names are those of LLaMA-Factory 0.9.5 (`llamafactory.hparams`): its training arguments are
transformers' own, everything else is its; what it makes of them is read from
`llamafactory.model.adapter`, `patcher` and `model_utils.quantization`.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from autopeft.domain.methods.peft_fields import TRAINER_DEFAULTS
from autopeft.domain.space import Json
from autopeft.export.foreign import Asked, Word, only, refuse, translated, whole, with_defaults
from autopeft.export.prepared import Prepared
from autopeft.export.script import yaml_text

_ATTENTION = {"eager": "disabled", "sdpa": "sdpa", "flash_attention_2": "fa2"}
_COMMON: Mapping[str, Word] = {
    "task_type": Word("", only("CAUSAL_LM")),
    "modules_to_save": Word("additional_target", write=",".join),
    "bias": Word("", only("none")),
}
_MODULES: Mapping[str, Mapping[str, Word]] = {
    "LORA": {
        **_COMMON,
        "peft_type": Word("finetuning_type", write=lambda _: "lora"),
        "r": Word("lora_rank"),
        "lora_alpha": Word("lora_alpha", whole, int),
        "lora_dropout": Word("lora_dropout"),
        "target_modules": Word("lora_target", write=",".join),
        "use_rslora": Word("use_rslora"),
        "use_dora": Word("use_dora"),
        "init_lora_weights": Word(
            "pissa_init", lambda init: init in (True, "pissa"), lambda init: init == "pissa"
        ),
    },
    "OFT": {
        **_COMMON,
        "peft_type": Word("finetuning_type", write=lambda _: "oft"),
        "r": Word("oft_rank"),
        "oft_block_size": Word("oft_block_size"),
        "module_dropout": Word("module_dropout"),
        "target_modules": Word("lora_target", write=",".join),  # oft_target is read by nothing
    },
}
_EFFECTIVE = {"LORA": ("r", "lora_alpha", "lora_dropout"), "OFT": ("r", "oft_block_size")}
"""Written whether the file says them or not: the tools' defaults differ."""
_OWN_WAY = ("max_length", "packing", "gradient_checkpointing", "bf16", "warmup_steps")
_TRAINING: Mapping[str, Word] = {
    **{name: Word(name) for name in TRAINER_DEFAULTS["transformers.Seq2SeqTrainer"]},
    "max_length": Word("cutoff_len"),
    "packing": Word("packing"),
    "gradient_checkpointing": Word("disable_gradient_checkpointing", write=lambda on: not on),
    "gradient_checkpointing_kwargs": Word(
        "use_reentrant_gc",
        lambda given: set(given or {}) <= {"use_reentrant"},
        lambda given: bool((given or {}).get("use_reentrant", False)),
    ),
    "warmup_steps": Word(""),
    "assistant_only_loss": Word(""),
    "completion_only_loss": Word(""),
    "truncation_mode": Word("", only("keep_start")),
    "dataset_num_proc": Word("preprocessing_num_workers"),
    "eval_packing": Word(""),
    "pad_token": Word(""),
    "packing_strategy": Word("", only("wrapped")),
}
_MODEL: Mapping[str, Word] = {
    "revision": Word("model_revision"),
    "trust_remote_code": Word("trust_remote_code"),
    "attn_implementation": Word(
        "flash_attn",
        lambda name: name in _ATTENTION,
        lambda name: _ATTENTION[name],
    ),
    "use_safetensors": Word(""),
    "dtype": Word(""),
    "quantization_config": Word(""),
}
_ROLES = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def llama_factory_files(asked: Asked) -> dict[str, str]:
    """llama_factory.yaml, and data/dataset_info.json that tells of the rows in `data/`.

    Raises:
        ExportError: with every field that LLaMA-Factory cannot express.
    """
    told: dict[str, Any] = {"model_name_or_path": asked.name, "do_train": True}
    lacks: list[str] = []
    rows, how = _data(asked)
    for part, missing in (_model(asked), _module(asked), _recipe(asked), how):
        told |= part
        lacks += missing
    refuse("llama-factory", asked, lacks)
    told |= {"dataset_dir": "data", "dataset": "train", "eval_dataset": "validation"}
    told |= {"output_dir": "retrained", "overwrite_output_dir": True}
    info = {name: {"file_name": f"{name}.jsonl", **rows} for name in ("train", "validation")}
    return {
        "llama_factory.yaml": yaml_text(told),
        "data/dataset_info.json": json.dumps(info, indent=2) + "\n",
    }


def llama_factory_rows(
    rows: Iterable[Mapping[str, Json]], prepared: Prepared
) -> list[Mapping[str, Json]]:
    """The rows with the token that ends an answer: TRL adds it, the template `empty` does not."""
    from transformers import AutoTokenizer

    found = list(rows)
    if not found or not isinstance(found[0].get("completion"), str):
        return found
    tokenizer = AutoTokenizer.from_pretrained(prepared.model, **prepared.processor_arguments)
    end = tokenizer.eos_token or ""
    return [{**row, "completion": str(row["completion"]).removesuffix(end) + end} for row in found]


def _model(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    told, lacks = translated("model", asked.model, _MODEL)
    loaded = asked.mixed or asked.checkpoint_dtype
    if asked.dtype != loaded:
        lacks.append(f"model.dtype {asked.dtype}, where it loads {loaded}")
    quantised = dict(asked.model.get("quantization_config") or {})
    if quantised.pop("load_in_4bit", False):
        told |= {
            "quantization_bit": 4,
            "quantization_type": quantised.pop("bnb_4bit_quant_type", "fp4"),
            "double_quantization": quantised.pop("bnb_4bit_use_double_quant", False),
        }
        compute = quantised.pop("bnb_4bit_compute_dtype", "float32")
        if compute != loaded:
            lacks.append(f"model.quantization_config.bnb_4bit_compute_dtype = {compute}")
    elif quantised.pop("load_in_8bit", False):
        told["quantization_bit"] = 8
    return told, [*lacks, *(f"model.quantization_config.{name}" for name in quantised)]


def _module(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    if not asked.module:
        return {"finetuning_type": "full"}, []
    kind = str(asked.module["peft_type"])
    if kind not in _MODULES:
        return {}, [f"peft_type {kind}"]
    module = with_defaults(asked.module, *_EFFECTIVE[kind])
    told, lacks = translated("modules", module, _MODULES[kind])
    if told.get("pissa_init"):
        told["pissa_iter"] = -1  # else it is another method, of a few steps
    return told, lacks


def _recipe(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    ours, theirs = (
        TRAINER_DEFAULTS[name] for name in ("trl.SFTTrainer", "transformers.Seq2SeqTrainer")
    )
    differ = {name for name in ours if name in theirs and ours[name] != theirs[name]}
    effective = {name: asked.recipe(name) for name in sorted({*differ, *_OWN_WAY})}
    del effective["logging_steps"]
    effective["bf16"] = asked.mixed == "bfloat16"
    given = {**effective, **asked.training, "bf16": effective["bf16"]}
    told, lacks = translated("training", given, _TRAINING)
    return {**told, "warmup_steps": asked.warmup_steps}, lacks


def _data(asked: Asked) -> tuple[dict[str, Json], tuple[dict[str, Any], list[str]]]:
    """How its file of data sets reads the rows; what the configuration says of them."""
    lacks = [f"data.columns.{n}" for n in asked.columns if n in ("tools", "chat_template_kwargs")]
    if "messages" in asked.columns:
        rows = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _ROLES}
        # With no template named it takes the tokenizer's. TRL learns all of the text unless told.
        learnt = {"stage": "sft", "train_on_prompt": not asked.recipe("assistant_only_loss")}
        return rows, (learnt, lacks)
    if "prompt" in asked.columns:
        if asked.conversations:
            lacks.append("data.columns.prompt of messages")
        rows = {"columns": {"prompt": "prompt", "response": "completion"}}
        both = asked.recipe("completion_only_loss") is False
        return rows, ({"stage": "sft", "template": "empty", "train_on_prompt": both}, lacks)
    return {"columns": {"prompt": "text"}}, ({"stage": "pt"}, lacks)
