"""The composite space of AutoPEFT as it is shipped, and allocations, from the file to MLflow."""

import json
from functools import partial
from pathlib import Path

import pytest
from command_line import environment, here
from exports import measured_as_the_card_says, printed
from mlflow import MlflowClient
from tiny_models import make_model

SPACE = Path(__file__).parents[2] / "search_spaces" / "autopeft_bert.yaml"
ALL_SIZES = "[0, 1, 3, 6, 12, 24, 48, 96, 192, 384, 768]"
SMALL = ["budget.trials=4", "training.num_train_epochs=2", "training.per_device_train_batch_size=8"]
SMALL += ["search.rungs.epochs=[1]", "search.parallel=2", "data.max_length=24"]

ALLOCATED = """
autopeft: 1
study: allocated
model: {model_name_or_path: bert-base-uncased, task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
  columns: {text: text_a, label: label}
training: {per_device_train_batch_size: 4, num_train_epochs: 2, learning_rate: 1e-2}
space:
  pruned:
    modules: [{peft_type: LORA, r: 2, target_modules: [attention.query, attention.value]}]
    allocation: adalora
  sampled:
    modules: [{peft_type: LORA, r: {choice: [2, 3]}, target_modules: all-linear}]
    allocation: ist
objectives:
  - {metric: eval_loss, goal: minimize}
  - {metric: adapter_params, goal: minimize, scale: log}
baselines: {}
budget: {trials: 3}
search: {sampler: random, parallel: 2, rungs: {epochs: [1], eta: 2}, seed: 0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("composite")
    # Two of its sizes, so that every candidate holds all three modules.
    shipped = SPACE.read_text()
    assert ALL_SIZES in shipped
    (folder / "space.yaml").write_text(shipped.replace(ALL_SIZES, "[1, 12]"))
    (folder / "allocated.yaml").write_text(ALLOCATED)
    make_model("bert", folder / "bert-base-uncased", "SEQ_CLS")
    rows = [
        {"text_a": f"number {i % 7}", "text_b": f"is {'not ' * (i % 2)}small", "label": i % 2}
        for i in range(80)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_a_composite_is_searched_exported_loaded_and_trained_again_to_the_same_bits(folder):
    overrides = [word for value in SMALL for word in ("--set", value)]
    here(folder, "search", "space.yaml", "--local", *overrides)
    front = json.loads(here(folder, "front", "autopeft-bert", "--json").stdout)["front"]
    modules = {row["trial"]: row["configuration"]["architecture"]["modules"] for row in front}
    composite = [trial for trial, several in modules.items() if len(several) > 1]
    assert composite, front
    here(folder, "export", "autopeft-bert", "--trial", str(composite[0]), "--to", "out")
    out = folder / "out"
    metrics = json.loads((out / "provenance.json").read_text())["metrics"]
    assert {"composite.json", "head.safetensors", "tuners"} <= {path.name for path in out.iterdir()}
    run = partial(printed, environment=environment(folder))
    assert repr(metrics["eval_loss"]) in run("train.py", cwd=out)
    measured = measured_as_the_card_says(out, run)
    assert measured["accuracy"] == metrics["accuracy"]


def test_rank_sums_and_layer_scores_are_curves_in_mlflow(folder):
    here(folder, "search", "allocated.yaml", "--local")
    client = MlflowClient(f"sqlite:///{folder / 'autopeft-studies' / 'mlflow.db'}")
    experiment = next(e for e in client.search_experiments() if "allocated" in e.name)
    curves = {}
    for run in client.search_runs([experiment.experiment_id]):
        for name in run.data.metrics:
            curves.setdefault(name, []).append(client.get_metric_history(run.info.run_id, name))
    assert any(len({point.value for point in curve}) > 1 for curve in curves["rank_sum"])
    assert {f"layer_score/{layer}" for layer in range(3)} <= set(curves)
    assert any(point.value for curve in curves["layer_score/0"] for point in curve)
