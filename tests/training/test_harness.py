"""The lm-evaluation-harness on a tiny language model, with a task of the test's own."""

import json
import sys
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import yaml
from tiny_models import chats, make_model

from autopeft import build
from autopeft.config import parse
from autopeft.domain.architecture import canonical
from autopeft.domain.errors import AutopeftError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Result, Segment, Stop
from autopeft.training.measuring import harness

ACC = "lm_eval/next_number/acc"
LORA = {"peft_type": "LORA", "r": 4, "target_modules": "all-linear"}
installed = pytest.mark.skipif(
    find_spec("lm_eval") is None, reason="the optional package lm_eval is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harness")
    make_model("llama", folder / "model", "CAUSAL_LM")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, chats(24))))
    questions = [
        {"question": f"what comes after {i}", "choices": [str(i + 1), str(i + 2)], "answer": i % 2}
        for i in range(8)
    ]
    (folder / "tasks").mkdir()
    rows = folder / "tasks" / "questions.jsonl"
    rows.write_text("\n".join(map(json.dumps, questions)))
    task = {
        "task": "next_number",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    (folder / "tasks" / "next_number.yaml").write_text(yaml.safe_dump(task))
    return folder


def spec_of(folder, objectives=(ACC,), **given):
    rows = {"path": "json", "data_files": "rows.jsonl"}
    document = {
        "autopeft": 1,
        "study": "harness",
        "model": {"model_name_or_path": "model", "task_type": "CAUSAL_LM"},
        "data": {"train": rows, "validation": {"carve": 0.25, "from": "train"}},
        "modules": [LORA],
        "training": {"per_device_train_batch_size": 6, "num_train_epochs": 1},
        "objectives": list(objectives),
        "budget": {"trials": 1},
        "evaluation": {"lm_eval": {"tasks": ["next_number"], "include_path": "tasks", **given}},
    }
    return parse(document, folder=str(folder))


@installed
def test_a_trial_is_judged_by_a_task(folder):
    perplexity = {"metric": "perplexity", "goal": "minimize"}
    spec, shape = build.bound(spec_of(folder, [ACC, "lm_eval/next_number/acc_norm", perplexity]))
    evaluator = build.make_evaluator(spec, folder / "home")
    configuration = canonical(
        {"modules": [LORA]},
        branch="b",
        shape=shape,
        training=dict(spec.training),
        defaults=PEFT_DEFAULTS,
    )
    result = evaluator.run(
        Segment("harness", 0, configuration, 0, 0, Stop(), False, True), lambda step, metrics: None
    )
    assert isinstance(result, Result), result
    assert "lm_eval" in result.provenance["versions"]
    hits = 8 * result.metrics[ACC]
    assert hits == round(hits)  # of all rows
    assert 0 < hits < 8  # equal texts but for the right one's place: about half
    share = result.metrics[ACC]
    assert result.stderr[ACC] == pytest.approx((share * (1 - share) / 7) ** 0.5)
    # The choices have as many letters but for 8 and 9, so that lengths hardly count.
    assert result.metrics["lm_eval/next_number/acc_norm"] == pytest.approx(share, abs=0.26)


@installed
def test_a_limit_bounds_the_rows(folder):
    spec, _ = build.bound(spec_of(folder, limit=1, num_fewshot=0))
    bench = build.make_evaluator(spec, folder / "limited")._open()
    metrics, errors = harness.harness_measures(
        spec, bench.base.copy(0), bench.base.processor, batch_size=4, precision=nullcontext()
    )
    assert metrics[ACC] in (0.0, 1.0)
    assert set(errors) <= {ACC}


@installed
@pytest.mark.parametrize(
    ("objectives", "given", "said"),
    [
        ([ACC], {"tasks": ["next_numbr"]}, "no task 'next_numbr': did you mean next_number"),
        (["lm_eval/other/acc"], {}, "tasks has no other, it has next_number"),
        (["lm_eval/next_number/f1"], {}, "next_number has no f1, it has acc, acc_norm"),
        ([{"metric": ACC, "goal": "minimize"}], {}, "lm_eval says maximize, got goal: minimize"),
        ([ACC], {"include_path": "nowhere"}, "include_path names no folder: .*nowhere"),
    ],
)
def test_what_the_harness_does_not_have_is_said_before_a_trial(folder, objectives, given, said):
    with pytest.raises(AutopeftError, match=said):
        build.bound(spec_of(folder, objectives, **given))


def test_without_the_package_it_says_what_to_install(folder, monkeypatch):
    harness._manager.cache_clear()
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(AutopeftError, match=r"not installed: pip install 'autopeft\[lm-eval\]'"):
        build.bound(spec_of(folder))
