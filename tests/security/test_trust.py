"""`trust_remote_code` is said before anything is trained, and recorded by what was."""

import json
from dataclasses import replace

import pytest
from benches import make_bench
from command_line import here

from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.remarks import model_remarks

SPACE = """
autopeft: 1
study: trusting
model: {model_name_or_path: model, task_type: SEQ_CLS, trust_remote_code: true}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
training: {num_train_epochs: 1}
modules: [{peft_type: LORA, r: {choice: [1, 2]}, target_modules: [query]}]
objectives: [accuracy]
budget: {trials: 2}
"""
SAID = "model.trust_remote_code: code that comes with model runs here and in every trial"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), "bert", rows=32)


def test_validate_and_plan_say_that_code_runs(bench):
    folder = bench.home.parent
    (folder / "space.yaml").write_text(SPACE)
    assert SAID in here(folder, "validate", "space.yaml").stderr
    assert json.loads(here(folder, "plan", "space.yaml", "--json").stdout)["model"] == [SAID]
    (folder / "space.yaml").write_text(SPACE.replace(", trust_remote_code: true", ""))
    assert "trust" not in here(folder, "validate", "space.yaml").stderr


def test_a_trial_records_it_and_one_without_has_no_such_word(bench):
    spec = bench.spec
    trusting = replace(spec, model={**spec.model, "trust_remote_code": True})
    assert model_remarks(spec) == []
    for each, recorded in ((trusting, True), (spec, None)):
        evaluator = TrialEvaluator(each, bench.home)
        evaluator._open()
        assert evaluator._provenance.get("trust_remote_code") is recorded
