"""The TRL script of the docs: few lines make it an evaluator, and a search over it has a front."""

import difflib
import json
import shutil
import sys
from pathlib import Path

import pytest
from own_code import at_home, autopeft
from peft import AutoPeftModelForCausalLM
from tiny_models import chats, make_model

from autopeft import build
from autopeft.config import load
from autopeft.domain.trial import Segment, Stop

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_training_code"
PAGE = EXAMPLE.parents[1] / "own-training-code.md"


def changed_lines() -> list[str]:
    """The lines that go and those that come; empty ones say nothing."""
    before, after = (
        (EXAMPLE / name).read_text().splitlines() for name in ("train_sft.py", "evaluate_sft.py")
    )
    return [line for line in difflib.ndiff(before, after) if line[0] in "+-" and line[2:].strip()]


def test_the_script_becomes_an_evaluator_by_less_than_fifteen_changed_lines():
    lines = changed_lines()
    assert len(lines) < 15, lines
    shown = PAGE.read_text()
    assert all(f"{line[0]}{line[2:]}\n" in shown for line in lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own-trl")
    for name in ("evaluate_sft.py", "space.yaml"):
        shutil.copy(EXAMPLE / name, folder)
    make_model("llama", folder / "my-chat-model", "CAUSAL_LM")
    rows = [json.dumps(row) for row in chats(40)]
    (folder / "chat-train.jsonl").write_text("\n".join(rows[:32]))
    (folder / "chat-validation.jsonl").write_text("\n".join(rows[32:]))
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    at_home(monkeypatch, made)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "evaluate_sft", raising=False)
    return made


def test_the_search_over_it_has_a_front_whose_adapter_loads(folder, monkeypatch, capsys):
    search = ("search", "space.yaml", "--local", "--json", "--set", "budget.trials=6")
    assert autopeft(monkeypatch, *search) == 0
    document = json.loads(capsys.readouterr().out)
    front = document["front"]
    assert front
    for row in front:
        assert row["metrics"]["adapter_params"] > 0  # computed
        assert row["metrics"]["eval_loss"] > 0  # declared
        assert "eval_mean_token_accuracy" in row["metrics"]  # neither, and kept
    number = front[0]["trial"]
    assert autopeft(monkeypatch, "export", "own-sft", "--trial", str(number), "--to", "out") == 0
    model = AutoPeftModelForCausalLM.from_pretrained(folder / "out")
    trained = sum(p.numel() for n, p in model.named_parameters() if ".default" in n)
    assert trained == front[0]["metrics"]["adapter_params"]
    told = json.loads((folder / "out" / "provenance.json").read_text())
    assert told["evaluator"]["function"] == "evaluate_sft:evaluate"
    assert "trl" in told["versions"]
    given = json.loads((folder / "out" / "configuration.json").read_text())
    assert given["recipe"]["learning_rate"] > 0


def test_a_trial_that_pauses_at_a_rung_ends_as_one_that_never_did(folder):
    spec, shape = build.bound(load(folder / "space.yaml"))
    problem = build.problem(spec, shape)
    point = {"branch": "ia3", "training.learning_rate": 0.01}
    evaluator = build.make_evaluator(spec, folder / "home")

    def run(trial, rung, stop, *, last):
        segment = Segment(
            "own-sft", trial, problem.configure(point), 0, rung, stop, resume=rung > 0, last=last
        )
        return evaluator.run(segment, lambda step, metrics: None)

    whole = run(0, 0, Stop(), last=True)
    paused = run(1, 0, Stop(epochs=1), last=False)
    ended = run(1, 1, Stop(), last=True)
    assert (paused.step, ended.step, whole.step) == (8, 24, 24)
    assert ended.metrics["eval_loss"] == whole.metrics["eval_loss"] != paused.metrics["eval_loss"]


def test_a_test_split_is_measured_where_it_is_asked_for_and_in_no_curve(folder):
    code = (EXAMPLE / "evaluate_sft.py").read_text().replace("num_train_epochs=3", "max_steps=1")
    split = 'eval_dataset={"validation": rows["validation"], "test": rows["train"]}'
    code = code.replace('eval_dataset=rows["validation"]', split)
    (folder / "evaluate_tested.py").write_text(code)
    spec, shape = build.bound(
        load(folder / "space.yaml", ["evaluator=evaluate_tested:evaluate", "study=tested"])
    )
    point = {"branch": "ia3", "training.learning_rate": 0.01}
    configuration = build.problem(spec, shape).configure(point)
    evaluator = build.make_evaluator(spec, folder / "home")

    def run(trial, *, test):
        curve = []
        segment = Segment("tested", trial, configuration, 0, 0, Stop(), False, True, test)
        return evaluator.run(segment, lambda step, metrics: curve.append(metrics)), curve

    (asked, seen), (plain, seen_plain) = run(0, test=True), run(1, test=False)
    assert asked.metrics["eval_loss"] == plain.metrics["eval_loss"] != asked.test["eval_loss"]
    assert plain.test == {}
    losses = [metrics["eval_loss"] for metrics in seen if "eval_loss" in metrics]
    assert losses == [asked.metrics["eval_loss"]]
    assert len(seen) == len(seen_plain)
