"""A configuration as an experiment of the PEFT comparison suite."""

import json
from dataclasses import replace

import pytest
import torch
from fakes import bert_shape, study_spec
from peft import LoraConfig
from transformers import AutoConfig

from autopeft.domain.architecture import canonical
from autopeft.domain.errors import ExportError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS, TRAINER_DEFAULTS
from autopeft.domain.recipes.stopping import ARGUMENTS
from autopeft.domain.trial import State, Trial
from autopeft.export import Prepared, export_suite
from autopeft.importing.study import _module

LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 32, "target_modules": ["query"]}
RECIPE = {
    "learning_rate": 3e-4,
    "per_device_train_batch_size": 4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
}


def trial(*modules, full=False, allocation="uniform", device="cuda", **recipe):
    tree = {"modules": list(modules), "full_fine_tuning": full, "allocation": allocation}
    configuration = canonical(
        {**tree, "training": RECIPE | recipe},
        branch="b",
        shape=bert_shape(),
        training={},
        defaults=PEFT_DEFAULTS,
    )
    ran = {"total_steps": 50, "device": device}
    return Trial(3, configuration, 7, {}, {}, state=State.COMPLETED, provenance=ran)


def write(tmp_path, told, task="CAUSAL_LM", **model):
    spec = replace(study_spec(), model={"model_name_or_path": "llama", "task_type": task})
    rows = {"train": [{"text": "a"}], "validation": []}
    prepared = Prepared("llama", {"dtype": "bfloat16", "use_safetensors": True, **model}, (), rows)
    return export_suite(spec, told, shape=bert_shape(), prepared=prepared, to=tmp_path)


def params(tmp_path, told, **model):
    return json.loads(write(tmp_path, told, **model)[-1].read_text())


PARAMS = {
    "model_id": "llama",
    "seed": 7,
    "dtype": "bfloat16",
    "use_amp": False,
    "use_gc": True,
    "optimizer_type": "AdamW",
    "optimizer_kwargs": {"lr": 3e-4, "weight_decay": 0.0},
    "lr_scheduler": "cosine",
    "grad_norm_clip": 1.0,
    "max_seq_length": 1024,
    "batch_size": 4,
    "max_steps": 50,
    "eval_steps": 50,
}


def test_the_files_stand_where_the_suite_looks_and_say_what_the_trial_was(tmp_path):
    config, training = write(tmp_path, trial(LORA))
    assert config.name == "adapter_config.json"
    assert config.parent.parent == tmp_path / "experiments" / "lora"
    assert json.loads(training.read_text()) == PARAMS
    loaded = LoraConfig.from_pretrained(str(config.parent))
    assert (loaded.r, loaded.lora_alpha, loaded.base_model_name_or_path) == (4, 32, "llama")
    assert len(loaded.target_modules) == 6
    again = canonical(
        {"modules": [_module(json.loads(config.read_text()))]},
        branch="b",
        shape=bert_shape(),
        training={},
        defaults=PEFT_DEFAULTS,
    )
    assert again.architecture == trial(LORA).configuration.architecture, "import reads it back"
    with pytest.raises(ExportError, match="is there already"):
        write(tmp_path, trial(LORA))


def test_full_fine_tuning_has_no_adapter(tmp_path):
    (training,) = write(tmp_path, trial(full=True))
    assert training.parent.parent.name == "full-finetuning"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"gradient_accumulation_steps": 8}, {"batch_size": 32}),
        ({"lr_scheduler_type": "constant", "warmup_steps": 0}, {"lr_scheduler": None}),
        ({"max_grad_norm": 0}, {"grad_norm_clip": 0}),
        ({"max_length": 512}, {"max_seq_length": 512}),
        ({"optim": "sgd"}, {"optimizer_type": "SGD"}),
        (
            {"adam_beta2": 0.95},
            {"optimizer_kwargs": PARAMS["optimizer_kwargs"] | {"betas": [0.9, 0.95], "eps": 1e-8}},
        ),
        ({"fp16": True, "bf16": False}, {"use_amp": True}),
        ({"gradient_checkpointing": False}, {"use_gc": False}),
    ],
)
def test_the_recipe_is_said_in_the_words_of_the_suite(tmp_path, recipe, said):
    found = params(tmp_path, trial(LORA, **recipe))
    assert found == PARAMS | said
    optimizer = getattr(torch.optim, found["optimizer_type"])
    optimizer([torch.nn.Parameter(torch.ones(1))], **found["optimizer_kwargs"])


def test_the_dtype_is_one_of_the_suite(tmp_path, monkeypatch):
    told = trial(LORA, device="cpu")
    assert params(tmp_path / "a", told, dtype="float32")["dtype"] == "float32"
    with pytest.raises(ExportError, match=r"training.bf16 beside model.dtype float32"):
        write(tmp_path, trial(LORA), dtype="float32")
    checkpoint = AutoConfig.for_model("llama", dtype="bfloat16")
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *_, **__: checkpoint)
    bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}
    assert params(tmp_path / "b", told, quantization_config=bits)["dtype"] == "int4"
    eight = params(tmp_path / "c", told, quantization_config={"load_in_8bit": True})
    assert eight["dtype"] == "int8"
    bits |= {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    with pytest.raises(ExportError) as refused:
        write(tmp_path, told, quantization_config=bits)
    assert "model.quantization_config.bnb_4bit_quant_type = nf4" in str(refused.value)
    assert "model.quantization_config.bnb_4bit_use_double_quant" in str(refused.value)


_ANOTHER = {bool: lambda _: True, int: lambda v: v + 3, float: lambda v: v + 0.25}
_UNHEARD = {
    *("dataloader_num_workers", "dataloader_pin_memory", "dataset_num_proc", "eval_packing"),
    *("pad_token", "use_cpu", "bf16"),  # what it learns is the same
    *("seed", "num_train_epochs", "max_steps"),  # the trial's own, and its steps
    *("output_dir", "report_to", "save_strategy", "eval_strategy", "logging_steps"),
    *("disable_tqdm", "label_names", *ARGUMENTS),  # autopeft's own
    *(name for name, on in TRAINER_DEFAULTS["trl.SFTTrainer"].items() if on is True),
}


@pytest.mark.parametrize("name", sorted(TRAINER_DEFAULTS["trl.SFTTrainer"].keys() - _UNHEARD))
def test_every_field_of_a_recipe_is_written_or_refused(tmp_path, name):
    default = TRAINER_DEFAULTS["trl.SFTTrainer"][name]
    another = _ANOTHER.get(type(default), lambda _: "other")(default)
    try:
        said = params(tmp_path, trial(LORA, **{name: another})) != PARAMS
    except ExportError as refused:
        said = f"training.{name}" in str(refused)
    assert said


@pytest.mark.parametrize(
    ("told", "task", "said"),
    [
        (trial(LORA), "SEQ_CLS", "model.task_type SEQ_CLS"),
        (trial(LORA, allocation="adalora"), "CAUSAL_LM", "allocation adalora"),
        (trial({"peft_type": "SSF", "target_modules": ["query"]}), "CAUSAL_LM", "SSF, which PEFT"),
        (trial(LORA | {"init_lora_weights": "eva"}), "CAUSAL_LM", "eva, which looks at rows"),
        (trial(), "CAUSAL_LM", "the frozen model"),
        (trial(LORA, lr_scheduler_type="linear"), "CAUSAL_LM", "lr_scheduler_type = linear"),
        (
            trial(LORA, warmup_steps=0),
            "CAUSAL_LM",
            "training.warmup_steps = 0, where cosine takes 0.1",
        ),
        (trial(LORA, max_length=None), "CAUSAL_LM", "training.max_length = None"),
        (
            trial(LORA, optim="adafactor", packing=True, label_smoothing_factor=0.1),
            "CAUSAL_LM",
            "peft-suite has no name for what trial 3 has: training.optim = adafactor; "
            "training.label_smoothing_factor; training.packing. Take --to script",
        ),
        (replace(trial(LORA), state=State.FAILED), "CAUSAL_LM", "export takes a completed trial"),
    ],
)
def test_what_the_suite_cannot_train_is_refused(tmp_path, told, task, said):
    with pytest.raises(ExportError, match=said):
        write(tmp_path, told, task)
    assert not list(tmp_path.iterdir())
