"""What is said of data before training: shares of labels, empty rows, rows that are cut."""

import json
from dataclasses import replace

import pytest
from fakes import study_spec
from task_data import EXAMPLES, write_task
from tiny_models import make_model

from autopeft.training.remarks import data_remarks


def spec_of(folder, **changes):
    return replace(study_spec(name="r"), folder=str(folder), training={}, **changes)


def remarks_of(folder, name):
    return data_remarks(spec_of(folder, **write_task(folder, name)))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    make_model("bert", folder / "model", "SEQ_CLS")
    return folder


def texts(folder, rows, **data):
    name = f"{abs(hash(json.dumps(rows)))}.jsonl"
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    source = {"path": "json", "data_files": name}
    model = {"model_name_or_path": "model", "task_type": "SEQ_CLS"}
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
    said = texts(bert, rows, max_length=4)
    assert said[1] == "data.train: 4 of 12 rows have no text; they are kept"
    assert said[2].startswith(
        "data.train: 4 of 12 rows are cut to max_length 4 tokens (the longest"
    )


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
