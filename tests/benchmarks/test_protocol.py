"""`protocol/`: what it writes is a valid space, what it reports is what was told, what is done stays."""

import importlib
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from fakes import FakeEvaluator
from tiny_models import make_model

from autopeft import build
from autopeft.builders import searches
from autopeft.config import parse
from autopeft.config.branching import LEARNING_RATE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path += [str(BENCHMARKS / "search"), str(BENCHMARKS / "protocol")]
encoder_tasks = importlib.import_module("encoder_tasks")
protocol = importlib.import_module("protocol")
protocol_table = importlib.import_module("protocol_table")
lines = importlib.import_module("lines")
transfer = importlib.import_module("transfer")

SMALL = (
    "model.model_name_or_path=bert",
    "budget.trials=30",
    "confirm.seeds=2",
    "confirm.trials=14",
    "search.sampler=random",
)


def test_half_of_the_pairs_have_one_intent_and_no_text_is_its_own_partner():
    texts = {f"{intent} {i}": intent for intent in ("pay", "call", "sing") for i in range(4)}
    rows = [{"text": text, "label_name": intent} for text, intent in texts.items()]
    pairs = encoder_tasks.pairs_of(rows, 20, seed="train")
    assert pairs == encoder_tasks.pairs_of(rows, 20, seed="train")
    assert Counter(pair["label"] for pair in pairs) == {0: 10, 1: 10}
    for pair in pairs:
        same = texts[pair["text_a"]] == texts[pair["text_b"]]
        assert (same, pair["text_a"] == pair["text_b"]) == (bool(pair["label"]), False)


@pytest.mark.parametrize("task", encoder_tasks.TASKS)
def test_the_space_of_a_task_is_valid_and_no_lora_may_leave_the_range_of_the_control(
    task, tmp_path, monkeypatch
):
    monkeypatch.setattr(encoder_tasks, "_write", lambda task, folder: None)
    document = json.loads(encoder_tasks.space_file(task, tmp_path).read_text())
    spec = parse(document, folder=str(tmp_path))
    assert spec.name == task
    assert {branch.name for branch in spec.space.baselines} == set(protocol_table.BASELINES)
    for tree in (document["space"]["lora"], document["baselines"]["lora_all_linear"]):
        rate = tree["training"]["learning_rate"]
        assert LEARNING_RATE["low"] <= rate["low"] < rate["high"] <= LEARNING_RATE["high"]


def told(mean, half=0.01):
    return {"accuracy": {"mean": mean, "low": mean - half, "high": mean + half, "seeds": 5}}


def party(name, validation, test, *, baseline=False, branch="lora", **more):
    return {
        "name": name,
        "branch": branch,
        "baseline": baseline,
        "trial": 3,
        "known": {"trainable_params": 12_300.0},
        "searched": {"accuracy": validation},
        "validation": told(validation),
        "test": told(test),
        "on_front": 0.5,
        "verdict": "holds",
        "against": [],
        **more,
    }


def test_the_best_is_chosen_by_validation_and_its_difference_is_the_paired_one():
    than = [{"name": "a-control", "trial": 1, "test": {"mean": -0.02, "low": -0.05, "high": 0.01}}]
    parties = [
        party("lucky on test", 0.80, 0.95),
        party("best on validation", 0.85, 0.84, against=than),
        party("house", 0.9, 0.9, baseline=True, branch="lora_all_linear"),
    ]
    sides = [{"hypervolume": 0.5}, {"hypervolume": 0.25}]
    frozen = {"kind": "frozen", "task": "a", "test": 0.8, "test_rows": 400, "trainable_params": 770}
    own = {"kind": "confirmed", "task": "a", "study": "a", "parties": parties}
    control = {**own, "study": "a-control", "parties": [party("lora", 0.8, 0.86)]}
    run = {"kind": "run", "task": "a", "study": "a", "trial": 3, "confirms": 3, "name": "x"}
    moved = {"kind": "transfer", "task": "a", "source": "b", "name": "x", "trainable_params": 9}
    rows = [frozen, {**own, "control": {"studies": sides}}, control]
    for seed, value in enumerate((0.7, 0.8)):
        rows.append({**run, "seed": seed, "test": value})
        rows.append({**moved, "party": "moved", "seed": seed, "test": value - 0.1})
        rows.append({**moved, "party": "lora", "seed": seed, "test": value})
    said = protocol_table.report(rows)
    assert "| search: its best, no baseline | .840 ± .010 (12 k) |" in said
    assert "| control: best LoRA of the whole budget | .860 ± .010 (12 k) |" in said
    assert "| frozen, logistic regression | .800 ± .039 (0.8 k) |" in said
    assert "| a | -.020 ± .030 |" in said
    assert "| 0.500 and 0.250 |" in said
    assert "| .650 ± .635 | .750 ± .635 | -.100 ± .000 | +.100 ± .000 |" in said


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """What is on record after a task was run and transferred, and after the same again.

    Beside each how many segments ran so far; nothing is trained but the regression on states.
    """
    home = tmp_path_factory.mktemp("home")
    make_model("bert", home / "bert", "SEQ_CLS", num_hidden_layers=2)
    words = ("dull", "lovely")
    rows = [{"text": f"{i} {words[i % 2]} film", "label": words[i % 2]} for i in range(48)]
    (home / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    carved = {"carve": 0.25, "from": "train"}
    data = {
        "train": {"path": "json", "data_files": "rows.jsonl"},
        "validation": {**carved, "seed": 0},
        "test": {**carved, "seed": 1},
        "columns": {"text": "text", "label": "label"},
        "max_length": 8,
    }
    out, evaluator = home / "results.jsonl", FakeEvaluator(noise=0.02)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPEFT_HOME", str(home))
        patch.setitem(sys.modules, "mlflow", None)
        patch.setattr(encoder_tasks, "TASKS", {"one": data, "two": data})
        for module in (build, searches):
            patch.setattr(module, "make_evaluator", lambda spec, folder: evaluator)
        found = []
        for _ in range(2):
            protocol.run("one", home, out, SMALL)
            transfer.transfer(["one"], ["one", "two"], home, out, SMALL)
            found.append((lines.read(out), len(evaluator.ran)))
    return found


def test_every_trial_of_search_control_and_confirmation_is_on_record_once(records):
    (done, ran), again = records
    assert again == (done, ran)
    runs = [row for row in done if row["kind"] == "run"]
    assert {row["study"] for row in runs} == {"one", "one-control"}
    assert len({(row["study"], row["trial"]) for row in runs}) == len(runs)
    assert all((row["test"] is None) == (row["confirms"] is None) for row in runs)
    assert {row["seed"] for row in runs if row["confirms"] is not None} == {1000, 1001}
    reports = {row["study"]: row for row in done if row["kind"] == "confirmed"}
    assert [row["study"] for row in reports["one"]["control"]["studies"]] == ["one", "one-control"]
    names = {other["name"] for party in reports["one"]["parties"] for other in party["against"]}
    assert names == {*protocol_table.BASELINES, "one-control"}
    assert [row["test_rows"] for row in done if row["kind"] == "frozen"] == [9]


def test_what_was_found_moves_as_it_is_beside_a_lora_whose_rate_is_tuned_there(records):
    done, _ = records[0]
    best = protocol_table.best_searched(done, "one")
    rows = [row for row in done if row["kind"] == "transfer"]
    assert {(row["source"], row["task"]) for row in rows} == {("one", "two")}
    moved = [row for row in rows if row["party"] == "moved"]
    assert [row["seed"] for row in moved] == [1000, 1001]
    assert {row["name"] for row in moved} == {best["name"]}
    tuned = {row["name"]: row for row in rows if row["party"].startswith("lora ")}
    assert len(tuned) == len(transfer.RATES)
    assert {row["test"] for row in tuned.values()} == {None}
    chosen = {row["name"] for row in rows if row["party"] == "lora"}
    assert chosen == {max(tuned.values(), key=lambda row: row["accuracy"])["name"]}
    assert "| one | two |" in protocol_table.report(done)
