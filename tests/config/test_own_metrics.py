"""`metrics:` of a study that autopeft trains itself: functions by import path."""

import math
from pathlib import Path

import pytest

from autopeft.config import parse
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError
from autopeft.domain.objective import Metric, Objective
from autopeft.domain.own_code import OwnCode, OwnMetric

GOOD = Path(__file__).with_name("good.yaml")
RECALL = {"function": "mine.judge:recall", "goal": "maximize"}


def document(metrics, **changes):
    return {**read(GOOD)[0], "metrics": metrics, **changes}


def mistakes(plain):
    with pytest.raises(SpecError) as caught:
        parse(plain, folder=".")
    return {mistake.path: str(mistake) for mistake in caught.value.mistakes}


def test_a_function_is_a_metric_of_objectives_and_constraints():
    metrics = {
        "recall": {**RECALL, "unit": "share"},
        "spread": {"function": "mine.judge:both", "goal": "minimize", "key": "std"},
    }
    objectives = [{"metric": "recall", "reference": 0.2}, {"metric": "spread", "scale": "log"}]
    spec = parse(
        document(metrics, objectives=objectives, constraints=["recall >= 0.5"]), folder="."
    )
    assert spec.objectives == (
        Objective("recall", "maximize", "linear", 0.2, "share", own=True),
        Objective("spread", "minimize", "log", own=True),
    )
    said = "computed by mine.judge:recall"
    assert spec.metrics["recall"] == Metric(
        "recall", "share", "maximize", False, said, low=-math.inf
    )
    assert spec.own_metrics == {
        "recall": OwnMetric("recall", "mine.judge:recall", "recall"),
        "spread": OwnMetric("spread", "mine.judge:both", "std"),
    }
    assert spec.own_metrics["recall"].code == OwnCode("mine.judge:recall", ".")
    assert parse(spec.document, folder=".").own_metrics == spec.own_metrics  # as `resume` does


def test_generation_is_bounded_for_a_metric_that_reads_texts():
    files = {"path": "json", "data_files": "x.jsonl"}
    changes = {
        "model": {"model_name_or_path": "gpt2", "task_type": "CAUSAL_LM"},
        "trainer": "trl.SFTTrainer",
        "data": {"train": files, "validation": files},
        "objectives": ["eval_loss"],
        "constraints": [],
        "evaluation": {"generate": {"rows": 7}},
    }
    assert parse(document({"recall": RECALL}, **changes), folder=".").generation.rows == 7
    assert (
        "generates texts that no objective"
        in mistakes(document({}, **changes))["evaluation.generate"]
    )


BAD = {
    "no mapping": (["a:b"], "metrics", "takes {name: {function"),
    "no function": ({"recall": {"goal": "maximize"}}, "metrics.recall", "needs a function"),
    "a path alone": ({"recall": "a:b"}, "metrics.recall", "needs a function that computes it"),
    "no path": (
        {"recall": {**RECALL, "function": "mine.judge"}},
        "metrics.recall.function",
        "takes the import path of a function, got 'mine.judge'",
    ),
    "no goal": ({"recall": {"function": "a:b"}}, "metrics.recall.goal", "takes maximize or"),
    "a goal of its own": (
        {"recall": {**RECALL, "goal": "up"}},
        "metrics.recall.goal",
        "takes maximize or minimize, got 'up'",
    ),
    "one of ours": ({"accuracy": RECALL}, "metrics.accuracy", "autopeft measures accuracy itself"),
    "a known one": ({"adapter_params": RECALL}, "metrics.adapter_params", "measures adapter_pa"),
    "a name": ({"macro-f1": RECALL}, "metrics.macro-f1", "takes letters, digits and _"),
    "a key": ({"recall": {**RECALL, "key": 3}}, "metrics.recall.key", "takes the name of a value"),
    "another field": (
        {"recall": {**RECALL, "gaol": "maximize"}},
        "metrics.recall.gaol",
        "did you mean goal?",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_told_with_its_path(name):
    metrics, path, text = BAD[name]
    found = mistakes(document(metrics))
    assert list(found) == [path]
    assert text in found[path]


def test_an_evaluator_returns_its_metrics_itself():
    plain = {
        "autopeft": 1,
        "study": "s",
        "evaluator": "a.b:c",
        "parameters": {"x": {"choice": [1, 2]}},
        "metrics": {"recall": RECALL},
        "objectives": ["recall"],
        "budget": {"trials": 2},
    }
    assert "which returns its metrics itself" in mistakes(plain)["metrics.recall.function"]
