"""What a file may say of each kind of task."""

import json

import pytest

from autopeft import build
from autopeft.config import parse
from autopeft.domain.errors import AutopeftError, SpecError
from autopeft.domain.tasks import KINDS

SPLIT = {"path": "json", "data_files": "train.jsonl"}
MULTI = {"problem_type": "multi_label_classification"}


def document(task_type="SEQ_CLS", *, data=(), metric="eval_loss", **more):
    model = {"model_name_or_path": "m", "task_type": task_type}
    model |= {key: more.pop(key) for key in ("problem_type",) if key in more}
    return {
        "autopeft": 1,
        "study": "s",
        "model": model,
        "data": {"train": SPLIT, "validation": SPLIT, **dict(data)},
        "modules": [{"peft_type": "LORA"}],
        "objectives": [metric],
        "budget": {"trials": 2},
        **more,
    }


def said(*args, **more):
    with pytest.raises(SpecError) as raised:
        parse(document(*args, **more), folder=".")
    return str(raised.value)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_names_its_trainer_columns_and_metrics(kind):
    problem = {"problem_type": kind.problem_type} if kind.problem_type else {}
    columns = {"columns": dict.fromkeys(kind.columns, "x")}
    if "forgetting" in kind.metrics:
        columns["general"] = SPLIT
    for metric in kind.metrics:
        spec = parse(document(kind.task_type, data=columns, metric=metric, **problem), folder=".")
        assert (spec.trainer, spec.task) == (kind.trainer, kind)


def test_a_problem_type_may_be_said_as_it_is_by_default():
    spec = parse(document(problem_type="single_label_classification"), folder=".")
    assert spec.task is KINDS["SEQ_CLS"]


def test_several_columns_are_labels_of_their_own():
    columns = {"columns": {"label": ["a", "b"]}}
    spec = parse(document(data=columns, **MULTI), folder=".")
    assert spec.data["columns"]["label"] == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task_type": "TOKEN"},
            "model.task_type: takes a task type, got 'TOKEN' (did you mean TOK",
        ),
        (
            {"problem_type": "regresion"},
            "there is no problem_type 'regresion' (did you mean regres",
        ),
        ({"problem_type": 3}, "there is no problem_type 3"),
        (
            {"task_type": "TOKEN_CLS", "problem_type": "regression"},
            "model.problem_type: belongs to SEQ_CLS, got it with TOKEN_CLS",
        ),
        (
            {"problem_type": "regression", "metric": "accuracy"},
            "SEQ_CLS regression measures no accuracy (it measures eval_loss, mae, pearson, spearmanr)",
        ),
        ({"metric": "pearson"}, "SEQ_CLS measures no pearson"),
        (
            {"data": {"columns": {"label": ["a", "b"]}}},
            "data.columns.label: takes the name of one column, got ['a', 'b']",
        ),
        (
            {"data": {"columns": {"label": ["a"]}}, **MULTI},
            "takes the name of one column, or a list of two or more, got ['a']",
        ),
        ({"data": {"columns": {"label": []}}, **MULTI}, "or a list of two or more, got []"),
        (
            {"data": {"columns": {"label": "{a}"}}},
            "takes the name of a column, no text with columns",
        ),
        ({"data": {"max_target_length": 8}}, "data.max_target_length: SEQ_CLS has no target"),
        (
            {"task_type": "SEQ_2_SEQ_LM", "data": {"max_target_length": 0}},
            "data.max_target_length: takes a whole number from 1, got 0",
        ),
        (
            {"task_type": "IMAGE_CLS", "data": {"max_length": 8}},
            "data.max_length: IMAGE_CLS reads no tokens",
        ),
        (
            {"task_type": "IMAGE_CLS", "data": {"columns": {"text": "x"}}},
            "columns of IMAGE_CLS has no 'text'",
        ),
        (
            {"task_type": "SEQ_2_SEQ_LM", "trainer": "transformers.Trainer"},
            "trainer: task_type SEQ_2_SEQ_LM trains with transformers.Seq2SeqTrainer, got transf",
        ),
        (
            {"task_type": "SEQ_2_SEQ_LM", "training": {"predict_with_generate": True}},
            "autopeft sets predict_with_generate itself",
        ),
        (
            {"task_type": "SEQ_2_SEQ_LM", "training": {"no_such_field": True}},
            "Seq2SeqTrainingArguments has no field 'no_such_field'",
        ),
        (
            {"metric": {"metric": "spearmanr", "scale": "log"}, "problem_type": "regression"},
            "log needs values above 0, spearmanr can be below",
        ),
    ],
)
def test_what_a_kind_does_not_take_is_one_message(changes, message):
    assert message in said(**changes)


def test_the_f1_of_two_labels_is_refused_of_data_that_have_three(tmp_path):
    rows = [json.dumps({"text": f"row {i}", "label": "abc"[i % 3]}) for i in range(9)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    spec = parse(document(metric="f1_binary"), folder=str(tmp_path))
    with pytest.raises(AutopeftError, match="second of two labels, data.train has 3: take f1, the"):
        build.bound(spec)
