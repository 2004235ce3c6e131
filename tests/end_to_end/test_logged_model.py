"""A trial's model in MLflow: logged, registered, loaded by MLflow alone, and the same network."""

import json

import mlflow
import pytest
import torch
from command_line import autopeft
from mlflow import MlflowClient
from peft import AutoPeftModelForSequenceClassification
from tiny_models import make_model
from transformers import AutoTokenizer

from autopeft.store import SqlStore

SPACE = """
autopeft: 1
study: logged
model: {model_name_or_path: tiny, task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
  columns: {text: text, label: label}
training: {per_device_train_batch_size: 8, num_train_epochs: 1, learning_rate: 1e-2}
space:
  lora: {modules: [{peft_type: LORA, r: 2, target_modules: [query, value]}]}
  prefix: {modules: [{peft_type: PREFIX_TUNING, num_virtual_tokens: 2}]}
objectives: [{metric: eval_loss, goal: minimize}, {metric: adapter_params, goal: minimize}]
baselines: false
budget: {trials: 2}
search: {sampler: random, seed: 0}
"""
TEXTS = ["number 3", "number 4 and more"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("logged")
    make_model("bert", found / "tiny", "SEQ_CLS")
    rows = [{"text": f"number {i % 7}", "label": "odd" if i % 2 else "even"} for i in range(48)]
    (found / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (found / "space.yaml").write_text(SPACE)
    autopeft(found, "search", "space.yaml", "--local", "--quiet")
    return found


def trial_of(folder, branch):
    store = SqlStore(f"sqlite:///{folder / 'autopeft-studies' / 'autopeft.db'}")
    trials = store.history("logged")
    return next(t.number for t in trials if t.configuration.branch == branch)


def test_the_pick_is_logged_and_registered_and_mlflow_alone_loads_it(folder):
    number = trial_of(folder, "lora")
    options = ("--to", "mlflow", "--trial", str(number), "--register", "topics")
    address = autopeft(folder, "export", "logged", *options).stdout.split()[-1]
    assert address.startswith("models:/m-")
    home = folder / "autopeft-studies"
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
    told = mlflow.pyfunc.load_model("models:/topics/1").predict(TEXTS)
    adapter = home / "logged" / "adapters" / f"trial-{number}"
    model = AutoPeftModelForSequenceClassification.from_pretrained(adapter, num_labels=2).eval()
    inputs = AutoTokenizer.from_pretrained(folder / "tiny")(
        TEXTS, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected, labels = model(**inputs).logits.softmax(-1).max(-1)
    assert list(told["label"]) == [("even", "odd")[label] for label in labels]
    assert told["score"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    run = MlflowClient().get_run(mlflow.models.get_model_info(address).run_id)
    assert run.data.tags["autopeft.trial"] == str(number)
    assert run.info.status == "FINISHED"


def test_what_cannot_be_merged_is_refused(folder):
    number = trial_of(folder, "prefix")
    refused = autopeft(folder, "export", "logged", "--to", "mlflow", "--trial", str(number), code=2)
    assert f"which trial {number} does not take" in refused.stderr
    assert "Take --to peft" in refused.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "mlflow", "--out", "x"), "writes no folder, got --out x"),
        (("--to", "peft", "--register", "x"), "--register goes with --to mlflow, got --to peft"),
    ],
)
def test_options_that_do_not_belong_are_said(folder, options, said):
    assert said in autopeft(folder, "export", "logged", *options, code=2).stderr
