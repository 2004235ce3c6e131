"""Secrets of the environment end in no store, log, report, export or MLflow."""

import json
import os
from pathlib import Path

import pytest
from command_line import autopeft, here
from tiny_models import make_model

from autopeft.config import load
from autopeft.domain.errors import SpecError
from autopeft.domain.trial import Failure, FailureReason
from autopeft.orchestrator.wire import result_out

SECRETS = {
    "HF_TOKEN": "hf-planted-token-1111",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED2222222",
    "AWS_SECRET_ACCESS_KEY": "planted/aws+secret3333",
    "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-4444",
    "RAY_AUTH_TOKEN": "planted-ray-5555",
    "POSTGRES_PASSWORD": "planted-postgres-6666",
    "MY_SERVICE_API_KEY": "planted-service-7777",
    "DATABASE": "postgresql://me:planted%2Durl-8888@host/db",
}
VALUES = [*list(SECRETS.values())[:-1], "planted%2Durl-8888", "planted-url-8888"]

SPACE = """
autopeft: 1
study: leaky
model: {model_name_or_path: model, task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
  columns: {text: text, label: label}
training: {per_device_train_batch_size: 16, num_train_epochs: 1}
space:
  lora:
    modules: [{peft_type: LORA, r: {choice: [1, 2]}, target_modules: [query]}]
    training: {learning_rate: {low: 1e-4, high: 1e-2, log: true}}
metrics:
  odd: {goal: maximize, function: "scores:odd"}
objectives:
  - {metric: odd, goal: maximize}
  - {metric: adapter_params, goal: minimize, scale: log}
baselines: false
budget: {trials: 3}
search: {sampler: random, parallel: 1, seed: 0}
"""
# Called twice before there is a trial. One call raises, with all of its environment in the message.
SCORES = """
import logging
import os
from pathlib import Path

def odd(predictions):
    file = Path(__file__).with_name("calls")
    calls = file.read_text() if file.exists() else ""
    file.write_text(calls + "x")
    logging.getLogger("autopeft").warning("calling with %s", dict(os.environ))
    if len(calls) == 3:
        raise RuntimeError("\\x1b[2Jcannot reach " + " ".join(os.environ.values())) from KeyError(dict(os.environ))
    return {"odd": 0.5}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaky")
    make_model("bert", folder / "model", "SEQ_CLS")
    rows = [{"text": f"after {i % 9} comes {i % 7}", "label": i % 2} for i in range(64)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "space.yaml").write_text(SPACE)
    (folder / "scores.py").write_text(SCORES)
    return folder


def leaks(folder: Path) -> list[str]:
    """Every file that holds a planted value: databases and weights too."""
    return [
        f"{path.relative_to(folder)}: {value}"
        for path in folder.rglob("*")
        if path.is_file()
        for value in VALUES
        if value.encode() in path.read_bytes()
    ]


def test_planted_secrets_are_in_nothing_that_a_study_leaves(folder, monkeypatch):
    said = [autopeft(folder, "search", "space.yaml", "--local", **SECRETS)]
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for arguments in (
        ("sync", "leaky"),
        ("status", "leaky", "--tracebacks"),
        ("report", "leaky", "--to", "front.html"),
        ("export", "leaky", "--to", "adapter"),
        ("export", "leaky", "--to", "optuna", "--out", "theirs.db"),
    ):
        said.append(here(folder, *arguments))
    shown = "".join(done.stdout + done.stderr for done in said)
    assert "***HF_TOKEN***" in shown, "the failure was told"
    assert [value for value in VALUES if value in shown] == []
    assert "\x1b[2J" not in shown
    assert (folder / "adapter" / "provenance.json").is_file()
    assert (folder / "front.html").stat().st_size > 10**6
    assert leaks(folder) == []
    assert b"***POSTGRES_PASSWORD***" in (folder / "autopeft-studies" / "autopeft.db").read_bytes()


def test_a_worker_tells_its_driver_no_secret(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    told = Failure(FailureReason.ERROR, " ".join(VALUES), str(dict(os.environ)))
    travels = json.dumps(result_out(told))
    assert [value for value in VALUES if value in travels] == []


REFUSED = {
    "model.token=hf_mine": "model.token: .* 'token' names a secret",
    "data.train.token=hf_mine": "data.train.token: .* 'token' names a secret",
    'data.train.storage_options={secret: "x1", aws_access_key_id: x2}': "'secret' names a secret",
    "training.hub_token=hf_mine": "'hub_token' names a secret",
    'evaluator={function: "a:b", options: {service: {api_key: abc}}}': "'api_key' names a secret",
    "data.train.data_files=https://me:hunter2@host/x.jsonl": "this URL holds a password",
    "model.model_name_or_path=https://me:hunter2@host/model": "this URL holds a password",
    "data.train.data_files=x-planted-postgres-6666": "this is the value of POSTGRES_PASSWORD",
}


@pytest.mark.parametrize(("setting", "said"), REFUSED.items())
def test_a_space_file_with_a_secret_is_refused_without_repeating_it(
    folder, monkeypatch, setting, said
):
    monkeypatch.setenv("POSTGRES_PASSWORD", SECRETS["POSTGRES_PASSWORD"])
    with pytest.raises(SpecError, match=said) as refused:
        load(folder / "space.yaml", [setting])
    for value in ("hf_mine", "x1", "x2", "abc", "hunter2", "planted-postgres-6666"):
        assert value not in str(refused.value)


def test_words_that_only_look_like_secrets_are_taken(folder):
    spec = load(
        folder / "space.yaml",
        ["model.token=true", "training.push_to_hub=false", "training.hub_token=<HUB_TOKEN>"],
    )
    assert spec.model["token"] is True
