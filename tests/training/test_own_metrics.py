"""Functions of the user's that compute metrics: found, tried before training, called after it."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from task_data import write_task
from transformers import EvalPrediction

from autopeft import build
from autopeft.config import parse
from autopeft.domain.errors import AutopeftError
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training.measuring.own_metrics import OwnMetrics
from autopeft.training.own_function import OwnCodeError
from autopeft.training.pausing import NotFiniteError

GIVEN = (np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([1, 1]))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Kind of task -> its folder and what stands under model and data; each is written once."""
    found = {}

    def of(name):
        if name not in found:
            folder = tmp_path_factory.mktemp("task")
            found[name] = folder, write_task(folder, name)
        return found[name]

    return of


@pytest.fixture
def study(tasks, tmp_path, monkeypatch):
    """A study whose metric `own` is the function `f` with this body."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path

    def of(body, *, name="SEQ_CLS", metrics=None, module="judge"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        where, task = tasks(name)
        for found in where.iterdir():
            if not (folder / found.name).exists():
                (folder / found.name).symlink_to(found)
        (folder / f"{module}.py").write_text(f"def f(given):\n    {body}\n")
        document = {
            "autopeft": 1,
            "study": "own",
            **task,
            "training": {"per_device_train_batch_size": 8, "max_steps": 2, "learning_rate": 0.01},
            "modules": [{"peft_type": "LORA", "target_modules": ["query"]}],
            "metrics": metrics or {"own": {"function": f"{module}:f", "goal": "maximize"}},
            "objectives": ["own"],
            "budget": {"trials": 1},
        }
        return parse(document, folder=str(folder))

    return of


def computed(spec, **options):
    return OwnMetrics(spec).of(*GIVEN, **options)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("return 3", 3.0),
        ("return given.predictions.argmax(-1).mean()", 0.5),  # a number of NumPy
        ("logits, labels = given; return {'own': float(labels.sum()), 'other': 'x'}", 2.0),
        ("import torch; return torch.tensor(2.5)", 2.5),
    ],
)
def test_a_function_takes_an_eval_prediction_and_returns_a_number_or_a_mapping(study, body, value):
    assert computed(study(body)) == ({"own": value}, {})


def test_a_standard_error_may_stand_beside_the_number(study):
    assert computed(study("return {'own': (0.5, 0.1)}")) == ({"own": 0.5}, {"own": 0.1})


def test_one_function_is_called_once_for_several_metrics(study, tmp_path):
    metrics = {
        "a": {"function": "judge:f", "goal": "maximize", "key": "x"},
        "b": {"function": "judge:f", "goal": "minimize", "key": "y"},
        "own": {"function": "judge:f", "goal": "minimize", "key": "x"},
    }
    body = f"open({str(tmp_path / 'calls')!r}, 'a').write('.'); return {{'x': 1, 'y': 2}}"
    assert computed(study(body, metrics=metrics))[0] == {"a": 1, "b": 2, "own": 1}
    assert (tmp_path / "calls").read_text() == "."


def test_what_a_function_writes_into_its_arrays_stays_with_it(study):
    body = "given.predictions[:] = 0; given.label_ids[:] = 9; return 1"
    predictions, labels = (values.copy() for values in GIVEN)
    OwnMetrics(study(body)).of(predictions, labels)
    assert (predictions == GIVEN[0]).all()
    assert (labels == GIVEN[1]).all()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return 'high'", "metric own (judge:f) needs a number, got str 'high'"),
        ("return None", "metric own (judge:f) needs a number, got NoneType None"),
        ("return {'f1': 1}", "needs 'own' in the mapping that the function returns, it has f1"),
        ("return {'own': [1]}", "metric own (judge:f) needs a number, got list [1]"),
        ("raise KeyError('r')", "metric own (judge:f): KeyError: 'r' (judge.py:2)"),
        ("import sys; sys.exit(3)", "metric own (judge:f): SystemExit: 3 (judge.py:2)"),
    ],
)
def test_what_is_wrong_with_a_function_is_told_before_anything_is_trained(study, body, text):
    with pytest.raises(OwnCodeError) as caught:
        build.check_own_code(study(body))
    assert text in caught.value.message
    assert "\n" not in caught.value.message
    assert "own_metrics.py" not in caught.value.traceback  # theirs, not ours


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("nowhere:f", "metrics.own nowhere:f is imported from"),
        ("judge:g", "has no 'g': it has f"),
        ("judge:__name__", "names a function"),
        ("operator:add", "metrics.own operator:add has to take (eval_prediction)"),
    ],
)
def test_a_function_that_is_none_is_told(study, function, text):
    metrics = {"own": {"function": function, "goal": "maximize"}}
    with pytest.raises(AutopeftError) as caught:
        build.check_own_code(study("return 1", metrics=metrics))
    assert text in str(caught.value)


def test_a_value_that_is_not_finite_says_nothing_of_made_up_predictions(study):
    spec = study("return float('nan')")
    build.check_own_code(spec)
    assert computed(spec, finite=False) == ({}, {})
    with pytest.raises(
        NotFiniteError, match=r"metric own \(judge:f\) needs a finite value, got nan"
    ):
        computed(spec)


SHAPES = {
    "SEQ_CLS": ((8, 2), (8,)),
    "SEQ_CLS regression": ((8, 1), (8,)),
    "SEQ_CLS multi_label_classification": ((8, 2), (8, 2)),
    "TOKEN_CLS": ((8, 5, 4), (8, 5)),
    "SEQ_2_SEQ_LM": (8, 8),
    "IMAGE_CLS": ((8, 3), (8,)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_tried_on_predictions_of_the_shape_that_a_trial_has(study, name):
    shape = "(given.predictions.shape, given.label_ids.shape)"
    if name == "SEQ_2_SEQ_LM":
        shape = "(len(given.predictions), len(given.label_ids))"
    spec = study(f"assert {shape} == {SHAPES[name]!r}, {shape}; return 1", name=name)
    build.check_own_code(spec)


def test_it_is_what_a_trainer_hands_to_compute_metrics(study, tmp_path):
    body = f"import pickle; pickle.dump(given, open({str(tmp_path / 'given')!r}, 'wb')); return 1"
    result = run(study(body))
    assert isinstance(result, Result), result
    given = pickle.loads((tmp_path / "given").read_bytes())
    assert isinstance(given, EvalPrediction)
    assert given.predictions.shape == (12, 2)
    assert given.label_ids.shape == (12,)
    accuracy = (given.predictions.argmax(-1) == given.label_ids).mean()
    assert result.metrics["accuracy"] == accuracy
    assert result.metrics["own"] == 1
    assert result.provenance["metrics"]["own"]["file"] == str(tmp_path / "judge.py")


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        (
            "assert len(given.label_ids) < 12; return 1",
            FailureReason.ERROR,
            "metric own (judge:f): AssertionError (judge.py:2)",
        ),
        (
            "return 1 if len(given.label_ids) < 12 else float('inf')",
            FailureReason.NOT_FINITE,
            "NotFiniteError: metric own (judge:f) needs a finite value, got inf",
        ),
    ],
)
def test_what_fails_in_a_trial_alone_fails_the_trial(study, body, reason, message):
    spec = study(body)
    build.check_own_code(spec)
    failure = run(spec)
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.message) == (reason, message)


def run(spec):
    spec, shape = build.bound(spec)
    configuration = build.problem(spec, shape).configure({"branch": "main"})
    evaluator = build.make_evaluator(spec, Path(spec.folder) / "home")
    work = Segment("own", 0, configuration, 0, 0, Stop(), False, True)
    return evaluator.run(work, lambda step, metrics: None)
