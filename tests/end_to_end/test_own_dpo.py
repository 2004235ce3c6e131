"""The DPO script of the docs: TRL's own trainer as an evaluator, paused at a rung."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from own_code import at_home
from safetensors.torch import load_file
from tiny_models import make_model

from autopeft import build
from autopeft.config import load
from autopeft.domain.trial import Result, Segment, Stop

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "dpo"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("evaluate_dpo.py", "space.yaml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    make_model("llama", tmp_path / "my-chat-model", "CAUSAL_LM")
    rows = [
        {"prompt": f"what comes after {i % 9}", "chosen": " after 3", "rejected": " 4 4"}
        for i in range(24)
    ]
    (tmp_path / "pairs-train.jsonl").write_text("\n".join(map(json.dumps, rows[:16])))
    (tmp_path / "pairs-validation.jsonl").write_text("\n".join(map(json.dumps, rows[16:])))
    at_home(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "evaluate_dpo", raising=False)
    return tmp_path


@pytest.mark.long  # an evaluator as test_own_trl.py shows it, by another trainer of TRL
def test_it_prefers_what_was_chosen_and_goes_on_after_a_rung_to_the_same_weights(folder):
    spec, shape = build.bound(load(folder / "space.yaml"))
    build.check_own_code(spec)
    problem = build.problem(spec, shape)
    drawn = (problem.space.draw(np.random.default_rng(seed)) for seed in range(100))
    point = next(point for point in drawn if point["branch"] == "lora")
    point = {**point, "training.learning_rate": 1e-3}
    evaluator = build.make_evaluator(spec, folder / "home")

    def run(number, rung, stop, last):
        work = (problem.configure(point), 0, rung, stop, rung > 0, last)
        found = evaluator.run(Segment("dpo", number, *work), lambda step, metrics: None)
        assert isinstance(found, Result), found
        return found

    whole = run(0, 0, Stop(), True)
    first = run(1, 0, Stop(epochs=1), False)
    second = run(1, 1, Stop(), True)
    assert (first.step, second.step, whole.step) == (4, 12, 12)
    assert second.metrics["eval_loss"] == whole.metrics["eval_loss"] < first.metrics["eval_loss"]
    assert whole.metrics["eval_loss"] < 0.6931  # of a model that prefers nothing: log 2
    assert 0 <= whole.metrics["reward_accuracy"] <= 1
    adapters = (
        load_file(folder / "home" / "dpo" / "adapters" / f"trial-{n}" / "adapter_model.safetensors")
        for n in (0, 1)
    )
    ours, theirs = adapters
    assert all((ours[name] == theirs[name]).all() for name in ours | theirs)
