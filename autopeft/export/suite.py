"""A configuration in the layout of the PEFT project's method comparison.

    experiments/<method>/<name>/adapter_config.json      PEFT's configuration; none of a full one
    experiments/<method>/<name>/training_params.json     what differs from the suite's defaults

The suite trains a language model on its own data with its own loop: what it has no word for (an
allocation, a tuner that PEFT lacks, several modules, a linear schedule) is refused. Its words are
those of `TrainConfig` in method_comparison/MetaMathQA/utils.py, as of PEFT 0.21; what it makes of
them is read from there and from run.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.describe import describe
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.configs import config_class
from autopeft.export.foreign import (
    Asked,
    Word,
    asked_of,
    only,
    refuse,
    refuse_unfinished,
    translated,
)
from autopeft.export.prepared import Prepared
from autopeft.namespaces import file_name

_EVAL_STEPS = 250  # the suite's own; it takes no more than there are steps
_OPTIMIZERS = {
    "adamw_torch": "AdamW",
    "adamw_torch_fused": "AdamW",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
}
_SCHEDULES = {"constant": None, "cosine": "cosine"}
_ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
_DTYPES = ("float32", "float16", "bfloat16")
_OWN_WAY = (
    *("learning_rate", "weight_decay", "warmup_steps", "bf16", "fp16", *_ADAM),
    *("per_device_train_batch_size", "gradient_accumulation_steps"),
    *("max_steps", "num_train_epochs"),
)
"""Said by `_optimizer`, `_schedule`, `_precision`, the batch and the steps."""
_TRAINING: Mapping[str, Word] = {
    "seed": Word("seed"),
    "max_length": Word("max_seq_length", bool),
    "max_grad_norm": Word("grad_norm_clip", write=lambda most: most or 0.0),
    "gradient_checkpointing": Word("use_gc"),
    "gradient_checkpointing_kwargs": Word("", lambda given: set(given or {}) <= {"use_reentrant"}),
    "optim": Word("optimizer_type", lambda name: name in _OPTIMIZERS, lambda n: _OPTIMIZERS[n]),
    "lr_scheduler_type": Word("lr_scheduler", lambda n: n in _SCHEDULES, lambda n: _SCHEDULES[n]),
    "per_device_eval_batch_size": Word("batch_size_eval"),
    "torch_compile": Word("compile"),
    "truncation_mode": Word("", only("keep_start")),
    **{name: Word("") for name in _OWN_WAY},
    # What it learns is the same with and without.
    **{name: Word("") for name in ("dataloader_num_workers", "dataloader_pin_memory")},
    **{name: Word("") for name in ("dataset_num_proc", "eval_packing", "pad_token")},
    **{name: Word("") for name in ("save_strategy", "use_cpu")},
}
_EFFECTIVE = ("max_length", "max_grad_norm", "gradient_checkpointing", "optim", "lr_scheduler_type")
"""Written whether the file says them or not: the suite's defaults differ."""
_MODEL: Mapping[str, Word] = {
    "attn_implementation": Word("attn_implementation"),
    **{name: Word("") for name in ("dtype", "quantization_config", "use_safetensors")},
}
_QUANTISED: Mapping[str, Word] = {
    **{name: Word("") for name in ("load_in_4bit", "load_in_8bit", "quant_method")},
    "bnb_4bit_compute_dtype": Word("", only("float32")),
    "bnb_4bit_quant_type": Word("", only("fp4")),
}
"""It gives bitsandbytes the number of bits alone, so the rest is transformers' default."""


def export_suite(
    spec: StudySpec, trial: Trial, *, shape: ModelShape, prepared: Prepared, to: Path
) -> tuple[Path, ...]:
    """Write a trial's configuration; returns the files.

    Raises:
        ExportError: the suite cannot train it, with all that it has no word for, or the experiment
            is there already.
    """
    refuse_unfinished("peft-suite", spec, trial)
    asked = asked_of(spec, trial, shape, prepared)
    files: dict[str, Any] = {"training_params.json": _params(asked)}
    method = "full-finetuning"
    if asked.module:
        method = str(asked.module["peft_type"]).lower()
        files["adapter_config.json"] = _config(asked.module, asked.name)
    name = "-".join(describe(trial.configuration).replace("/", "-").replace(",", "").split())
    folder = to / "experiments" / method / f"{file_name(spec.name)}-{trial.number}-{name}"
    if folder.exists():
        raise ExportError(f"{folder} is there already: name another folder")
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return tuple(folder / file for file in sorted(files))


def _config(arguments: Mapping[str, Json], model: str) -> dict[str, Json]:
    """As `save_pretrained` writes it."""
    given = dict(arguments)
    config = config_class(str(given.pop("peft_type")))(**given)
    config.base_model_name_or_path = model
    found: dict[str, Json] = config.to_dict()
    return {k: sorted(v) if isinstance(v, set) else v for k, v in found.items()}


def _params(asked: Asked) -> dict[str, Json]:
    """
    Raises:
        ExportError: with every field that the suite cannot express.
    """
    effective = {name: asked.recipe(name) for name in _EFFECTIVE}
    told, lacks = translated("training", {**effective, **asked.training}, _TRAINING)
    model, missing = translated("model", asked.model, _MODEL)
    precision, unsaid = _precision(asked)
    refuse("peft-suite", asked, [*lacks, *_warmup(asked), *missing, *unsaid])
    rows = asked.recipe("per_device_train_batch_size")
    return {
        "model_id": asked.name,
        **model,
        **precision,
        **told,
        "optimizer_kwargs": _optimizer(asked),
        "batch_size": rows * asked.recipe("gradient_accumulation_steps"),
        "max_steps": asked.steps,
        "eval_steps": min(_EVAL_STEPS, asked.steps),
    }


def _optimizer(asked: Asked) -> dict[str, Json]:
    """The arguments of torch's optimizer, Adam's own only where they are not its defaults."""
    told = {"lr": asked.recipe("learning_rate"), "weight_decay": asked.recipe("weight_decay")}
    adam = {name: asked.recipe(name) for name in _ADAM}
    if _OPTIMIZERS[asked.recipe("optim")] == "AdamW" and adam != _ADAM:
        told["betas"] = [adam["adam_beta1"], adam["adam_beta2"]]
        told["eps"] = adam["adam_epsilon"]
    return told


def _warmup(asked: Asked) -> list[str]:
    """Its cosine warms up over a tenth of the steps, rounded down; a constant rate has none."""
    if asked.recipe("lr_scheduler_type") != "cosine" or (
        abs(asked.warmup_steps - asked.steps / 10) < 1
    ):
        return []
    return [f"training.warmup_steps = {asked.recipe('warmup_steps')}, where cosine takes 0.1"]


def _precision(asked: Asked) -> tuple[dict[str, Json], list[str]]:
    """Its mixed precision is float16's; where all is bfloat16, it is that without."""
    quantised = asked.model.get("quantization_config") or {}
    _, lacks = translated("model.quantization_config", quantised, _QUANTISED)
    dtype, mixed = asked.dtype, asked.mixed
    bits = next((bits for bits in (4, 8) if quantised.get(f"load_in_{bits}bit")), None)
    if dtype not in _DTYPES or (bits and dtype != asked.checkpoint_dtype):
        lacks.append(f"model.dtype = {asked.model.get('dtype', 'auto')}")
    if mixed == "bfloat16" != dtype:
        lacks.append(f"training.bf16 beside model.dtype {dtype}")
    return {"dtype": f"int{bits}" if bits else dtype, "use_amp": mixed == "float16"}, lacks
