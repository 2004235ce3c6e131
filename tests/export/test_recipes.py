"""What the recipes of other tools say, by the tools' own classes where they are installed."""

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.scripts.sft import main as trl_sft
from trl.scripts.sft import make_parser
from trl.trainer.utils import get_peft_config

from autopeft.domain.architecture import canonical
from autopeft.domain.errors import ExportError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.export import RECIPES, export_recipe, peft_config
from autopeft.export.recipes import recipe_files

LORA = {"peft_type": "LORA", "r": 4, "lora_dropout": 0.2, "target_modules": ["q_proj", "down_proj"]}


@pytest.fixture
def done(exported):
    return exported("sft")


def with_tree(done, tree, **training):
    """The trial with another architecture or recipe, as if it had trained it.

    Of ten steps a tenth is one, which Axolotl does not take: two, then.
    """
    recipe = {**done.trial.configuration.recipe, "warmup_steps": 2, **training}
    configuration = canonical(
        tree, branch="b", shape=done.shape, training=recipe, defaults=PEFT_DEFAULTS
    )
    return replace(done.trial, configuration=configuration)


def written(done, tool, to, trial=None):
    return export_recipe(
        tool, done.spec, trial or done.trial, shape=done.shape, prepared=done.prepared, to=to
    )


def said(done, tool, trial=None, **prepared):
    """The tool's configuration; or what it refuses."""
    files = recipe_files(
        tool, done.spec, trial or done.trial, done.shape, replace(done.prepared, **prepared)
    )
    (name,) = (name for name in files if name.endswith(".yaml"))
    return yaml.safe_load(files[name])


def built(done, config):
    """{trained parameter: its shape} and {wrapped module: its scaling} of a PEFT config."""
    base = AutoModelForCausalLM.from_pretrained(done.prepared.model)
    model = peft.get_peft_model(base, config)
    trained = {n: tuple(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    scaled = {
        name: module.scaling["default"]
        for name, module in model.named_modules()
        if isinstance(getattr(module, "scaling", None), dict) and module.scaling
    }
    return trained, scaled


def of_trial(done, trial=None):
    trial = trial or done.trial
    config = peft_config(
        trial.configuration,
        done.shape,
        task_type="CAUSAL_LM",
        total_steps=10,
        ranks=trial.provenance.get("ranks"),
    )
    return built(done, config)


def test_sft_py_trains_to_the_bits_of_the_trial(done, tmp_path, monkeypatch):
    written(done, "trl", tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["sft.py"])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(tmp_path / "out" / "sft.py"), run_name="__main__")
    again = (tmp_path / "out/retrained/adapter_model.safetensors").read_bytes()
    assert again == (done.folder / "adapter_model.safetensors").read_bytes()


def test_trls_own_command_trains_the_network_of_the_trial(done, tmp_path, monkeypatch):
    """`trl sft --config sft.yaml` is this parser and this function."""
    written(done, "trl", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    script, args, model_args, data_args = make_parser().parse_args_and_config(
        ["--config", "sft.yaml", "--max_steps", "2"]
    )
    assert args.learning_rate == done.trial.configuration.recipe["learning_rate"]
    assert built(done, get_peft_config(model_args)) == of_trial(done)
    trl_sft(script, args, model_args, data_args)
    loaded = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(done.prepared.model), "retrained"
    )
    assert all(torch.isfinite(p).all() for p in loaded.parameters())


SPREAD = {
    "modules": [LORA | {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 4}}],
    "layers": {"last": 2},
}


def test_axolotl_is_told_the_adapter_the_recipe_and_the_rows_by_its_own_names(done):
    told = said(done, "axolotl", with_tree(done, {"modules": [LORA]}))
    targets = done.trial.configuration.architecture.modules[0].targets
    assert {name: told[name] for name in ("adapter", "lora_r", "lora_alpha", "lora_dropout")} == {
        "adapter": "lora",
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.2,
    }
    assert sorted(told["lora_target_modules"]) == sorted(targets)
    assert (told["num_epochs"], told["micro_batch_size"], told["lr_scheduler"]) == (1, 16, "cosine")
    assert told["warmup_steps"] == 2
    assert (told["sequence_len"], told["gradient_checkpointing"]) == (48, True), (
        "SFTConfig's default"
    )
    assert (told["float32"], told["bf16"]) == (True, False)
    (rows,) = told["datasets"]
    assert (rows["type"], told["train_on_inputs"]) == ("chat_template", True)


def test_llama_factory_is_told_the_same(done):
    told = said(done, "llama-factory")
    assert told["warmup_steps"] == 1, "a tenth of ten steps"
    assert (told["finetuning_type"], told["lora_rank"], told["lora_alpha"]) == ("lora", 4, 8)
    assert told["lora_target"].count(",") == 5
    assert (told["cutoff_len"], told["disable_gradient_checkpointing"]) == (48, False)
    assert (told["num_train_epochs"], told["lr_scheduler_type"]) == (1, "cosine")
    assert (told["stage"], told["train_on_prompt"], told["bf16"]) == ("sft", True, False)


def test_full_fine_tuning_has_no_adapter_anywhere(done):
    full = with_tree(done, {"full_fine_tuning": True})
    assert "adapter" not in said(done, "axolotl", full)
    assert said(done, "llama-factory", full)["finetuning_type"] == "full"
    assert "use_peft" not in said(done, "trl", full)
    files = recipe_files("trl", done.spec, full, done.shape, done.prepared)
    assert "peft_config=None" in files["sft.py"]


def test_four_bits_are_quantised_as_the_trial_quantised_them(done):
    given = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    compute = {"bnb_4bit_compute_dtype": "bfloat16"}
    load = {"dtype": "bfloat16", "quantization_config": {**given, **compute}}
    trial = with_tree(done, {"modules": [LORA]})
    trial = replace(trial, provenance={**trial.provenance, "device": "NVIDIA"})  # it says no bf16
    told = said(done, "axolotl", trial, load_arguments=load)
    assert (told["adapter"], told["load_in_4bit"], told["bf16"]) == ("qlora", True, True)
    assert told["bnb_config_kwargs"] == {
        "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": False,
    }
    told = said(done, "llama-factory", trial, load_arguments=load)
    assert (told["quantization_bit"], told["quantization_type"]) == (4, "nf4")
    assert told["double_quantization"] is False
    told = said(done, "trl", trial, load_arguments=load)
    assert (told["load_in_4bit"], told["bnb_4bit_quant_type"]) == (True, "nf4")
    load["quantization_config"] = given
    for tool in ("llama-factory", "trl"):
        with pytest.raises(ExportError, match="bnb_4bit_compute_dtype = float32"):
            said(done, tool, trial, load_arguments=load)


@pytest.mark.parametrize(
    ("tool", "tree", "training", "fields"),
    [
        (
            "llama-factory",
            SPREAD,
            {"packing_strategy": "bfd_split", "packing": True},
            ["modules.rank_pattern", "modules.alpha_pattern", "training.packing_strategy"],
        ),
        (
            "axolotl",
            {"modules": [LORA | {"lora_alpha": 6.5, "bias": "lora_only", "lora_bias": True}]},
            {"label_smoothing_factor": 0.1, "warmup_steps": 1},
            [
                "modules.bias = lora_only",
                "modules.lora_alpha = 6.5",
                "modules.lora_bias",
                "training.label_smoothing_factor",
                "training.warmup_steps = 1, of which it makes 2",
            ],
        ),
        ("axolotl", {"modules": [{"peft_type": "IA3"}]}, {}, ["peft_type IA3"]),
        ("llama-factory", {"modules": [{"peft_type": "VERA"}]}, {}, ["peft_type VERA"]),
        *(
            (tool, {"modules": [LORA], "allocation": "adalora"}, {}, ["allocation adalora"])
            for tool in RECIPES
        ),
        (
            "trl",
            {"modules": [LORA | {"init_lora_weights": "eva"}]},
            {},
            ["modules.init_lora_weights = eva, which looks"],
        ),
        (
            "trl",
            {"modules": [LORA, {"peft_type": "SSF", "target_modules": ["norm"]}]},
            {},
            ["2 modules (LORA, SSF)", "peft_type SSF, which PEFT does not have"],
        ),
    ],
)
def test_what_a_tool_has_no_name_for_is_refused_field_by_field(done, tool, tree, training, fields):
    defaulted = [m for m in tree["modules"] if "target_modules" not in m]
    tree = {**tree, "modules": [{**m, "target_modules": ["q_proj"]} if m in defaulted else m
                                for m in tree["modules"]]}  # fmt: skip
    with pytest.raises(ExportError, match=f"{tool} has no name for what trial 3 has") as refused:
        said(done, tool, with_tree(done, tree, **training))
    assert [field for field in fields if field not in str(refused.value)] == []
    assert "Take --to script" in str(refused.value)


def test_what_trls_command_cannot_say_is_in_the_script_and_the_yaml_says_so(done):
    files = recipe_files("trl", done.spec, with_tree(done, SPREAD), done.shape, done.prepared)
    head = files["sft.yaml"].splitlines()[0]
    assert (
        head
        == "# `trl sft` has no name for modules.alpha_pattern, modules.rank_pattern: it would train the whole model by"
    )
    assert "use_peft" not in yaml.safe_load(files["sft.yaml"])
    assert "rank_pattern=" in files["sft.py"]


@pytest.mark.parametrize("tree", [{"modules": [LORA]}, SPREAD, {"full_fine_tuning": True}])
def test_sft_py_is_formatted(done, tmp_path, tree):
    files = recipe_files("trl", done.spec, with_tree(done, tree), done.shape, done.prepared)
    (tmp_path / "sft.py").write_text(files["sft.py"])
    options = ["--line-length", "100", "--no-cache", "--isolated"]
    for verb in (["format", "--diff"], ["check", "--select", "F,I,B,UP"]):
        ran = subprocess.run(
            [Path(sys.executable).parent / "ruff", *verb, *options, "sft.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout


def test_rows_in_other_shapes_are_read_as_such(done):
    trial = with_tree(done, {"modules": [LORA]})
    pairs = {"train": [{"prompt": "a", "completion": "b"}], "validation": []}
    told = said(done, "axolotl", trial, splits=pairs)
    assert told["datasets"][0]["type"]["field_output"] == "completion"
    assert told["train_on_inputs"] is False
    assert said(done, "llama-factory", splits=pairs)["template"] == "empty"
    texts = {"train": [{"text": "a"}], "validation": []}
    assert said(done, "axolotl", trial, splits=texts)["datasets"][0]["field"] == "text"
    assert said(done, "llama-factory", splits=texts)["stage"] == "pt"
    tools = {"train": [{"messages": [], "tools": "[]"}], "validation": []}
    with pytest.raises(ExportError, match="data.columns.tools"):
        said(done, "llama-factory", splits=tools)


@pytest.mark.parametrize(
    ("tool", "ends"), [("llama-factory", ["b</s>", "c</s>"]), ("axolotl", ["b", "c</s>"])]
)
def test_answers_end_where_they_did_in_the_trial(done, tmp_path, tool, ends):
    """LLaMA-Factory's template `empty` adds no end; Axolotl does, where there is none."""
    rows = [{"prompt": "a", "completion": text} for text in ("b", "c</s>")]
    pairs = replace(done, prepared=replace(done.prepared, splits={"train": rows}))
    written(pairs, tool, tmp_path / "out", with_tree(done, {"modules": [LORA]}))
    lines = (tmp_path / "out" / "data" / "train.jsonl").read_text().splitlines()
    assert [json.loads(line)["completion"] for line in lines] == ends
    tokenizer = AutoTokenizer.from_pretrained(done.prepared.model)
    ids = tokenizer.encode(ends[1], add_special_tokens=False)
    assert ids[-1] == tokenizer.eos_token_id, "as LLaMA-Factory reads a text"


def test_a_task_that_is_no_language_model_is_refused_by_all(done):
    other = replace(done, spec=replace(done.spec, model={"task_type": "SEQ_CLS"}))
    for tool in RECIPES:
        with pytest.raises(ExportError, match="model.task_type SEQ_CLS"):
            said(other, tool)


def test_a_paused_trial_and_a_folder_in_use_are_refused(done, tmp_path):
    paused = replace(done.trial, state="paused")
    with pytest.raises(ExportError, match="trial 3 is paused"):
        written(done, "axolotl", tmp_path / "out", paused)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes").write_text("mine")
    with pytest.raises(ExportError, match="needs an empty folder"):
        written(done, "trl", tmp_path / "used")
