"""Every `export --to` of a study that the product itself searched, in one process."""

import io
import json

import optuna
import peft
import pytest
import yaml
from tiny_models import chats, make_model
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from autopeft.cli import app
from autopeft.domain.errors import ExportError

SPACE = """
autopeft: 1
study: tiny
model: {model_name_or_path: llama, task_type: CAUSAL_LM, dtype: float32}
trainer: trl.SFTTrainer
data:
  train: {path: json, data_files: train.jsonl}
  validation: {path: json, data_files: validation.jsonl}
training: {max_length: 48, per_device_train_batch_size: 8, num_train_epochs: 1}
space:
  lora:
    modules:
      - {peft_type: LORA, r: {choice: [2, 3]}, target_modules: {choice: [[q_proj], [q_proj, v_proj]]}}
    training: {learning_rate: {low: 1e-3, high: 1e-1, log: true}}
baselines:
  loha:
    modules: [{peft_type: LOHA, r: 2, target_modules: [q_proj, down_proj]}]
    training: {learning_rate: 2e-2}
objectives:
  - {metric: eval_loss, goal: minimize}
  - {metric: adapter_params, goal: minimize, scale: log}
constraints: ["adapter_params <= 10000"]
budget: {trials: 3}
search: {sampler: random, seed: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    make_model("llama", folder / "llama", "CAUSAL_LM")
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, chats(40))))
    (folder / "validation.jsonl").write_text("\n".join(map(json.dumps, chats(12))))
    (folder / "space.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUTOPEFT_HOME", str(folder / "home"))
        patch.delenv("AUTOPEFT_STORE", raising=False)
        # No part of what is tested, and the slowest to start.
        patch.setattr("autopeft.builders.tracked.find_spec", lambda name: None)
        autopeft("search", "space.yaml", "--local", "--quiet")
        yield folder


def autopeft(*arguments):
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def number(folder, branch):
    import autopeft

    trials = autopeft.load_study("tiny").trials
    return next(str(t.number) for t in trials if t.configuration.branch == branch)


def test_the_pick_goes_to_every_tool(folder):
    lora = number(folder, "lora")
    for kind, expected in {
        "peft": "adapter_model.safetensors",
        "script": "train.py",
        "trl": "sft.yaml",
        "axolotl": "axolotl.yaml",
        "llama-factory": "llama_factory.yaml",
    }.items():
        printed = autopeft("export", "tiny", "--to", kind, "--trial", lora).split()
        assert f"tiny-{lora}-{kind}/{expected}" in printed
        assert all((folder / path).is_file() for path in printed)
    assert not list((folder / f"tiny-{lora}-script").glob("*.safetensors"))
    assert yaml.safe_load((folder / f"tiny-{lora}-axolotl/axolotl.yaml").read_text())["lora_r"] < 4


def test_a_converted_adapter_says_what_it_cost_and_is_served_by_vllm(folder):
    loha = number(folder, "loha")
    autopeft("export", "tiny", "--to", "converted-lora", "--trial", loha, "--rank", "1",
             "--out", "coarse", "--servable", "vllm")  # fmt: skip
    autopeft("export", "tiny", "--to", "converted-lora", "--trial", loha)
    coarse, fine = (
        json.loads((folder / name / "provenance.json").read_text())
        for name in ("coarse", f"tiny-{loha}-converted-lora")
    )
    before = fine["metrics"]["eval_loss"]
    for told in (coarse, fine):
        assert told["converted"]["metrics_before"]["eval_loss"] == pytest.approx(before, rel=1e-5)
    off = [abs(t["converted"]["metrics_after"]["eval_loss"] - before) for t in (coarse, fine)]
    assert 0 < off[1] < off[0]
    card = (folder / "coarse" / "README.md").read_text()
    assert "converted to a plain LoRA of rank 1 to 1" in card
    assert "--max-lora-rank 8" in card
    base = AutoModelForCausalLM.from_pretrained(folder / "llama")
    assert peft.PeftModel.from_pretrained(base, folder / "coarse").peft_config["default"].r == 1


def test_optuna_has_every_trial_its_values_and_the_same_front(folder):
    import autopeft as product

    autopeft("export", "tiny", "--to", "optuna", "--out", "tiny.db")
    found = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'tiny.db'}")
    study = product.load_study("tiny")
    assert found.metric_names == ["eval_loss", "adapter_params"]
    assert [t.number for t in found.trials] == [t.number for t in study.trials]
    for theirs, ours in zip(found.trials, study.trials, strict=True):
        assert theirs.values == [ours.metrics["eval_loss"], ours.metrics["adapter_params"]]
        assert theirs.params["branch"] == ours.configuration.branch
        assert theirs.user_attrs["metric train_seconds"] == ours.metrics["train_seconds"]
        if "lora.modules[0].r" in theirs.params:
            (module,) = ours.configuration.architecture.modules
            assert theirs.params["lora.modules[0].r"] == module.size
    assert {t.number for t in found.best_trials} == {t.number for t in study.front}
    with pytest.raises(ExportError, match="tiny.db is there: name another"):
        autopeft("export", "tiny", "--to", "optuna", "--out", "tiny.db")


def test_optuna_dashboard_opens_it(folder):
    """`pip install --no-deps --target TOOLS optuna-dashboard bottle`, TOOLS on PYTHONPATH."""
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    autopeft("export", "tiny", "--to", "optuna", "--out", "seen.db")
    app = dashboard.wsgi(f"sqlite:///{folder / 'seen.db'}")

    def get(path):
        asked = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO()}
        return json.loads(b"".join(app(asked, lambda *_: None)))

    (summary,) = get("/api/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("tiny", ["minimize"] * 2)
    detail = get(f"/api/studies/{summary['study_id']}")
    assert [trial["number"] for trial in detail["trials"]] == [0, 1, 2]
    assert {trial["state"] for trial in detail["trials"]} == {"Complete"}
    assert "branch" in {parameter["name"] for parameter in detail["union_search_space"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "trl", "--servable", "vllm"), "--servable goes with --to peft or converted-lora"),
        (("--to", "llamafactory"), "did you mean llama-factory. A folder of that name is ./llama"),
        (("--to", "some/folder", "--out", "x"), "--out goes with --to peft, script"),
        (("--to", "peft", "--servable", "tgi"), "--servable takes vllm, got 'tgi'"),
        (("--to", "peft", "--rank", "4"), "--rank goes with --to converted-lora"),
        (("--to", "converted-lora", "--rank", "1.5"), "whole number, or a share of energy"),
        (("--to", "converted-lora", "--rank", "0"), "whole number, or a share of energy"),
        (("--to", "script", "--push-to-hub", "me/x"), "--push-to-hub goes with --to peft or"),
        (("--to", "peft", "--public"), "--public goes with --push-to-hub"),
        (("--to", "optuna", "--trial", "1"), "--to optuna writes all trials of a study"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(folder, arguments, said):
    with pytest.raises(ExportError, match=said):
        autopeft("export", "tiny", *arguments)
