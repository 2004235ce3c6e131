"""The plan in 80 columns, with numbers that hang together."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_models import chats, make_model

from autopeft import build
from autopeft.config import load
from autopeft.domain.objective import Constraint
from autopeft.plan_view import _extent, _machine, duration, plan_of, print_plan

SPACE = """
autopeft: 1
study: plan
model: {model_name_or_path: model, task_type: CAUSAL_LM}
data:
  train: {path: json, data_files: rows.jsonl}
  validation: {carve: 0.1, from: train}
training: {per_device_train_batch_size: {choice: [2, 4]}, num_train_epochs: 4}
space:
  lora:
    modules: [{peft_type: LORA, r: {choice: [0, 2, 8]}, target_modules: all-linear}]
  a_branch_with_quite_a_long_name:
    modules: [{peft_type: LORA, r: {choice: [0, 2]}, target_modules: [attention.query]}]
objectives: [eval_loss]
constraints: ["adapter_params <= 20_000"]
budget: {trials: 18, gpu_hours: 400}
resources: {price_per_hour: 2}
search: {parallel: 2, rungs: {epochs: [1], eta: 3}}
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The study and its plan."""
    folder = tmp_path_factory.mktemp("plan")
    make_model("llama", folder / "model", "CAUSAL_LM")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, chats(40))))
    (folder / "space.yaml").write_text(SPACE)
    spec, shape = build.bound(load(folder / "space.yaml"), folder / "space.yaml")
    return spec, plan_of(spec, build.problem(spec, shape))


def test_the_plan_says_what_the_budget_buys_in_80_columns(planned, capsys):
    print_plan(*planned)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    text = " ".join(said.split())
    assert "3 architectures to search of 5 parameter sets" in text
    assert "The budget buys 18 trials: 6 of baselines, 6 trained to the end" in text
    assert "at 2 an hour." in text
    assert "A full trial has about 36-72 steps." in text
    varied = "Everywhere the recipe varies too: per_device_train_batch_size, learning_rate."
    assert varied in text
    assert "of the points of lora are refused by the model or a known limit" in text


def test_its_numbers_hang_together(planned):
    plan = json.loads(json.dumps(planned[1]))
    rows, budget = plan["branches"], plan["budget"]
    names = ["lora", "a_branch_with_quite_a_long_name", "lora_all_linear"]
    assert [row["name"] for row in rows] == names
    for row in rows:
        low, high = row["train_seconds"]
        assert 0 < low <= high
        share = 1 / 4 + (3 / 4) / 3
        assert share * low <= row["mean_seconds"] <= share * high
        assert row["steps"] == [36.0, 72.0]
        assert row["peak_memory_gib"][0] > 0
    each = sum(row["mean_seconds"] for row in rows) / len(rows)
    assert budget["work_hours"] == pytest.approx(18 * each / 3600)
    assert budget["cost"] == pytest.approx(2 * budget["device_hours"])


def test_a_gpu_that_is_not_here_is_said_to_be_none_here(planned):
    spec, _ = planned
    asked = replace(spec, resources=replace(spec.resources, gpus_per_trial=1))
    if torch.cuda.is_available():
        assert "this machine's GPU" in _machine(asked, half=True)[1]
    else:
        slower, said = _machine(asked, half=True)
        assert (slower, "as there is none here" in said) == (1.0, True)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (59.4, "59 s"),
        (90, "1.5 min"),
        (1800, "30 min"),
        (5400, "1.5 h"),
        (4e5, "111 h"),
    ],
)
def test_durations_as_people_say_them(seconds, said):
    assert duration(seconds) == said


def test_a_unit_is_said_once():
    assert _extent((60, 120), duration) == "1.0-2.0 min"
    assert _extent((30, 120), duration) == "30 s-2.0 min"
    assert _extent((30, 30.1), duration) == "30 s"
    assert _extent(None, duration) == "-"


def test_a_baseline_that_breaks_a_known_limit_is_planned_and_said(planned, capsys):
    spec, _ = planned
    limited = replace(spec, constraints=(Constraint.parse("adapter_params <= 2000"),))
    shape = build.shape_of(spec.model, folder=spec.folder)
    plan = plan_of(limited, build.problem(limited, shape))
    print_plan(limited, plan)
    said = " ".join(capsys.readouterr().out.split())
    assert "lora_all_linear breaks adapter_params <= 2000, and is trained all the same" in said
    (row,) = [row for row in plan["branches"] if row["baseline"]]
    assert row["refused"] == 0
    assert row["adapter_params"][0] > 2000
