"""A trial for TRL: `sft.yaml` for `trl sft --config sft.yaml`, and `sft.py` that reads it.

`sft.py` takes any single module of PEFT's; TRL's own command takes the adapters that its
ModelConfig has names for. Where it has none, sft.yaml says so and is read by sft.py alone.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from autopeft.domain.model import ModelShape
from autopeft.domain.space import Json
from autopeft.export.foreign import Asked, Word, only, refuse, translated, whole, with_defaults
from autopeft.export.modules import peft_values
from autopeft.export.script import yaml_text

_TEMPLATE = Path(__file__).with_name("templates") / "sft_trl.py.tmpl"
_MODULE: Mapping[str, Word] = {
    "peft_type": Word("", only("LORA")),
    "task_type": Word("lora_task_type"),
    "r": Word("lora_r"),
    "lora_alpha": Word("lora_alpha", whole, int),
    "lora_dropout": Word("lora_dropout"),
    "bias": Word("", only("none")),
    "init_lora_weights": Word("", only(True)),
    "target_modules": Word("lora_target_modules"),
    "target_parameters": Word("lora_target_parameters"),
    "modules_to_save": Word("lora_modules_to_save"),
    "use_rslora": Word("use_rslora"),
    "use_dora": Word("use_dora"),
}
_QUANTISED: Mapping[str, Word] = {
    "load_in_4bit": Word("load_in_4bit"),
    "load_in_8bit": Word("load_in_8bit"),
    "bnb_4bit_quant_type": Word("bnb_4bit_quant_type"),
    "bnb_4bit_use_double_quant": Word("use_bnb_nested_quant"),
    "bnb_4bit_quant_storage": Word("bnb_4bit_quant_storage"),
    "bnb_4bit_compute_dtype": Word(""),
}
_MODEL = {"revision": "model_revision", "attn_implementation": "attn_implementation"}


def trl_files(asked: Asked, shape: ModelShape) -> dict[str, str]:
    """sft.py and sft.yaml.

    Raises:
        ExportError: with every field that neither takes.
    """
    model, lacks = _model(asked)
    refuse("trl", asked, lacks)
    adapter, missing = _adapter(asked)
    told = {**model, **({} if missing else adapter), **asked.training}
    told |= {"dataset_name": "data", "dataset_train_split": "train"}
    told |= {"dataset_test_split": "validation", "output_dir": "retrained", "report_to": "none"}
    peft = {"import_peft": "", "peft": ""}
    if asked.module:
        peft = peft_values([asked.module], shape)
    script = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        adapter="PEFT" if asked.module else "None",
        import_peft=peft["import_peft"].replace(", get_peft_model", ""),
        peft=peft["peft"],
    )
    return {"sft.py": script, "sft.yaml": f"{_head(missing)}{yaml_text(told)}"}


def _head(missing: list[str]) -> str:
    if not missing:
        return "# trl sft --config sft.yaml    or, to the bits of the trial: python sft.py\n"
    return (
        f"# `trl sft` has no name for {', '.join(missing)}: it would train the whole model by\n"
        "# this file. Run `python sft.py`, which holds the adapter.\n"
    )


def _adapter(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    if not asked.module:
        return {}, []
    if asked.module["peft_type"] != "LORA":
        return {}, [f"peft_type {asked.module['peft_type']}"]
    module = with_defaults(asked.module, "r", "lora_alpha", "lora_dropout", "task_type")
    told, missing = translated("modules", module, _MODULE)
    return {"use_peft": True, **told}, missing


def _model(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """What `from_pretrained` is given; what TRL has no name for goes by `model_init_kwargs`."""
    given: dict[str, Json] = dict(asked.model)
    quantised = dict(given.pop("quantization_config", None) or {})
    told: dict[str, Any] = {"model_name_or_path": asked.name, "dtype": given.pop("dtype", "auto")}
    told |= {name: given.pop(ours) for ours, name in _MODEL.items() if ours in given}
    if "trust_remote_code" in given:
        told["trust_remote_code"] = given.pop("trust_remote_code")
    if given:
        told["model_init_kwargs"] = given
    bits, lacks = translated("model.quantization_config", quantised, _QUANTISED)
    if quantised.get("load_in_4bit"):
        bits.setdefault("bnb_4bit_quant_type", "fp4")  # transformers' default, not TRL's
        compute = quantised.get("bnb_4bit_compute_dtype", "float32")
        if compute != told["dtype"]:
            lacks.append(
                f"model.quantization_config.bnb_4bit_compute_dtype = {compute} beside model.dtype "
                f"= {told['dtype']}"
            )
    return {**told, **bits}, lacks
