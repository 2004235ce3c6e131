"""What `data:` loads, and what it says about data that make no sense."""

import json
import re
import shutil

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, List
from task_data import write_images

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS
from autopeft.training.loading.data import load_data

ROWS = [{"text": f"row {i}", "label": ["no", "yes"][i % 2]} for i in range(20)]


def load(folder, task_type="SEQ_CLS", **data):
    return load_data(data, folder=str(folder), task=KINDS[task_type])


def jsonl(folder, name, rows):
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    return {"path": "json", "data_files": name}


@pytest.fixture
def source(tmp_path):
    return jsonl(tmp_path, "train.jsonl", ROWS)


def test_json_csv_and_parquet_give_the_same_rows(tmp_path):
    rows = Dataset.from_list(ROWS)
    rows.to_csv(tmp_path / "rows.csv")
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.to_json(tmp_path / "rows.json")
    loaded = [
        load(
            tmp_path,
            train={"path": kind, "data_files": f"rows.{kind}"},
            validation={"carve": 0.2, "from": "train"},
        )
        for kind in ("json", "csv", "parquet")
    ]
    assert loaded[0].train.to_list() == loaded[1].train.to_list() == loaded[2].train.to_list()
    assert loaded[0].labels == ("no", "yes")
    assert {row["label"] for row in loaded[0].train} == {0, 1}


def test_a_folder_saved_by_datasets_keeps_its_label_names(tmp_path):
    rows = Dataset.from_list([{"text": f"row {i}", "label": i % 2} for i in range(8)])
    rows = rows.cast_column("label", ClassLabel(names=["bad", "good"]))
    DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path / "saved")
    data = load(tmp_path, train={"path": "saved"}, validation={"path": "saved"})
    assert data.labels == ("bad", "good")
    assert len(data.validation) == 8


@pytest.mark.parametrize(
    ("split", "first", "count"),
    [("train[:25%]", 0, 5), ("train[60%:80%]", 12, 4), ("train[-3:]", 17, 3)],
)
def test_a_slice_of_a_split_is_its_rows(tmp_path, source, split, first, count):
    data = load(tmp_path, train={**source, "split": split}, validation=source)
    assert data.train["text"] == [f"row {i}" for i in range(first, first + count)]


def test_a_table_without_splits_is_sliced_too(tmp_path):
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "plain")
    halves = [{"path": "plain", "split": split} for split in ("train[:80%]", "train[80%:]")]
    data = load(tmp_path, train=halves[0], validation=halves[1])
    assert [len(data.train), len(data.validation)] == [16, 4]
    with pytest.raises(AutopeftError, match="has splits train, got split 'nonsense'"):
        load(tmp_path, train={"path": "plain", "split": "nonsense"}, validation=halves[1])


def test_a_split_keeps_its_name_whatever_it_is(tmp_path):
    rows = Dataset.from_list(ROWS)
    DatasetDict({"dev-clean": rows}).save_to_disk(tmp_path / "saved")
    source = {"path": "saved", "split": "dev-clean"}
    assert len(load(tmp_path, train=source, validation=source).train) == 20


def test_splits_can_be_added(tmp_path):
    rows = Dataset.from_list(ROWS)
    DatasetDict({"train": rows, "more": rows}).save_to_disk(tmp_path / "saved")
    both = {"path": "saved", "split": "train+more[:2]"}
    assert len(load(tmp_path, train=both, validation={"path": "saved"}).train) == 22


@pytest.mark.parametrize("split", ["test", "train[x:]", "train[", "train[:10%]+test"])
def test_what_is_no_split_is_told_with_those_there_are(tmp_path, source, split):
    told = re.escape(f"data.train has splits train, got split '{split}': take one of them")
    with pytest.raises(AutopeftError, match=told):
        load(tmp_path, train={**source, "split": split}, validation=source)


@pytest.mark.parametrize("split", ["train[99:]", "train[9:3]", "train[:1%]"])
def test_a_slice_without_rows_is_told_with_what_there_is(tmp_path, source, split):
    told = re.escape(
        f"data.train.split needs at least one row, got none by '{split}': train has 20"
    )
    with pytest.raises(AutopeftError, match=told):
        load(tmp_path, train={**source, "split": split}, validation=source)


def test_carving_takes_rows_away_and_keeps_the_shares_of_the_labels(tmp_path, source):
    data = load(tmp_path, train=source, validation={"carve": 0.2, "from": "train", "seed": 1})
    texts = [set(split["text"]) for split in (data.train, data.validation)]
    assert not texts[0] & texts[1]
    assert [len(split) for split in (data.train, data.validation)] == [16, 4]
    assert sum(data.validation["label"]) == 2


def test_limits_and_columns_by_other_names(tmp_path):
    rows = [{"a": f"one {i}", "b": f"two {i}", "class": i % 3} for i in range(12)]
    source = jsonl(tmp_path, "pairs.jsonl", rows)
    data = load(
        tmp_path,
        train=source,
        validation=source,
        columns={"text": "a", "text_pair": "b", "label": "class"},
        limit={"train": 6},
    )
    assert set(data.train.column_names) == {"text", "label", "text_pair"}
    assert (len(data.train), len(data.validation)) == (6, 12)
    assert data.labels == ("0", "1", "2")


def test_other_rows_give_another_fingerprint(tmp_path, source):
    other = jsonl(tmp_path, "other.jsonl", [{**row, "text": row["text"] + "!"} for row in ROWS])
    carve = {"carve": 0.2, "from": "train"}
    assert (
        load(tmp_path, train=source, validation=carve).fingerprint
        != load(tmp_path, train=other, validation=carve).fingerprint
    )


CARVE = {"carve": 0.2, "from": "train"}


@pytest.mark.parametrize(
    ("rows", "data", "said"),
    [
        (ROWS, {"validation": {"carve": 2}}, "carve needs a share between 0 and 1, got 2.0"),
        (
            ROWS,
            {"validation": {"carve": 0.999}},
            "data.validation.carve needs to leave a row of train, got 0.999 of 20 rows: take",
        ),
        (ROWS, {"validation": {"carve": 0.1, "from": "dev"}}, "not loaded: 'dev'"),
        (ROWS, {"columns": {"text": "body"}}, "does not have: 'body'; it has text, label"),
        (
            [{"text": "a", "label": 0.5}] * 8,
            {},
            "got 0.5: to predict numbers write problem_type: regression under model",
        ),
        ([{"text": "a", "label": [1]}] * 8, {}, "got [1]: for several a row write problem_type"),
        ([{"text": "a", "label": [[1]]}] * 8, {}, "strings or whole numbers, got [[1]]: for"),
        ([{"text": "a", "label": {"x": 1}}] * 8, {}, "got {'x': 1}: write words in their place"),
        (
            [{"text": "a", "label": "2026-01-02"}] * 8,
            {},
            "got datetime.datetime(2026, 1, 2, 0, 0): write words in their place, or name another",
        ),
        (
            [{"text": i, "label": i % 2} for i in range(8)],
            {},
            "needs text in column 'text', got int64",
        ),
        (ROWS, {"columns": {"text": "{text} {body}"}}, "does not have: 'body'"),
        (ROWS, {"columns": {"text": "{text"}}, "is no text with columns in it: '{text'"),
        (ROWS, {"columns": {"text": "{text:d}"}}, "in it: '{text:d}': Unknown format code 'd'"),
        (ROWS, {"columns": {"text": "{text!x}"}}, "in it: '{text!x}': Unknown conversion"),
        (ROWS, {"columns": {"text": "{text:{nope}}"}}, "does not have: 'nope'; it has text"),
        (
            [{"text": ["a"], "label": i % 2} for i in range(8)],
            {"columns": {"text": "{text:>9}"}},
            "columns in it: '{text:>9}': unsupported format string passed to list",
        ),
        (ROWS, {"columns": {"text": "label"}}, "names 'label' twice"),
        (
            [{"text": "a", "label": v} for v in ("x", 1)] * 4,
            {},
            "one type, got 'x' beside 1: write",
        ),
        ([{"text": "a", "label": "x"}] * 8, {}, "needs two labels or more, got only ['x']"),
        ([*ROWS, {"text": None, "label": "no"}], {}, "got 1 rows without: drop them"),
        (ROWS, {"validation": {"path": "json", "data_files": "no.jsonl"}}, "does not exist"),
        (ROWS, {"validation": {"path": "no-such-folder"}}, "'no-such-folder' cannot be loaded"),
        (ROWS, {"limit": {"train": 0}}, "data.train needs at least one row, got none"),
    ],
)
def test_data_that_make_no_sense_are_one_message(tmp_path, rows, data, said):
    source = jsonl(tmp_path, "train.jsonl", rows)
    with pytest.raises(AutopeftError, match=re.escape(said)):
        load(tmp_path, **{"train": source, "validation": CARVE, **data})


@pytest.mark.parametrize("name", ["a" * 5_000, "nul\0byte.jsonl"], ids=["long", "nul"])
def test_a_name_that_no_file_can_have_is_one_short_message(tmp_path, name):
    with pytest.raises(AutopeftError, match="data.train.data_files names a file that") as caught:
        load(tmp_path, train={"path": "json", "data_files": name}, validation=CARVE)
    assert len(str(caught.value)) < 600


def test_a_label_that_training_never_saw_is_named(tmp_path, source):
    unseen = jsonl(tmp_path, "validation.jsonl", [{"text": "a", "label": "maybe"}])
    with pytest.raises(AutopeftError, match="labels that data.train does not: maybe"):
        load(tmp_path, train=source, validation=unseen)


def test_rows_for_language_models_need_a_column_that_trl_reads(tmp_path):
    source = jsonl(tmp_path, "train.jsonl", [{"question": "a"}] * 4)
    with pytest.raises(AutopeftError, match="needs one of the columns messages, prompt"):
        load(tmp_path, "CAUSAL_LM", train=source, validation=CARVE)
    data = load(tmp_path, "CAUSAL_LM", train=source, validation=CARVE, columns={"text": "question"})
    assert data.train.column_names == ["text"]


def test_a_text_may_be_written_with_several_columns(tmp_path):
    rows = [{"a": f"one {i}", "b": i, "label": i % 2} for i in range(8)]
    columns = {"text": "{a}: {b}", "text_pair": "a"}
    source = jsonl(tmp_path, "train.jsonl", rows)
    data = load(tmp_path, train=source, validation=source, columns=columns)
    assert data.train[3] == {"text_pair": "one 3", "label": 1, "text": "one 3: 3"}


def test_labels_that_a_public_test_split_hides_are_told(tmp_path):
    rows = Dataset.from_list([{"text": f"row {i}", "label": i % 2} for i in range(8)])
    rows = rows.cast_column("label", ClassLabel(names=["bad", "good"]))
    hidden = rows.remove_columns("label").add_column("label", [-1] * 8)
    hidden = hidden.cast(rows.features)
    DatasetDict({"train": rows, "validation": rows, "test": hidden}).save_to_disk(tmp_path / "glue")
    source = {"path": "glue"}
    with pytest.raises(AutopeftError, match="data.test has 8 rows whose label is -1, which hides"):
        load(tmp_path, train=source, validation=source, test=source)
    one = rows.filter(lambda row: row["label"] == 1)
    DatasetDict({"train": one, "validation": one}).save_to_disk(tmp_path / "one")
    with pytest.raises(AutopeftError, match="needs two labels or more, got only \\['good'\\]"):
        load(tmp_path, train={"path": "one"}, validation={"path": "one"})


NAMED = {
    "SEQ_CLS": ("text", "label", lambda ids: ids[0], lambda names: ClassLabel(names=names)),
    "TOKEN_CLS": ("tokens", "tags", lambda ids: ids, lambda names: List(ClassLabel(names=names))),
    "SEQ_CLS multi_label_classification": (
        "text",
        "label",
        lambda ids: ids,
        lambda names: List(ClassLabel(names=names)),
    ),
}


def named(folder, kind, names, rows):
    """A saved split whose labels have ids of its own. rows: the ids of each."""
    text, label, value, feature = NAMED[kind]
    words = [["w"] * len(ids) if text == "tokens" else "words" for ids in rows]
    split = Dataset.from_dict({text: words, label: [value(ids) for ids in rows]})
    split = split.cast_column(label, feature(names))
    split.save_to_disk(folder)
    return {"path": folder.name}


@pytest.mark.parametrize("kind", NAMED)
def test_labels_are_told_by_their_names_where_a_split_counts_others(tmp_path, kind):
    train = named(tmp_path / "a", kind, ["cat", "dog", "fox"], [[0], [1], [2], [1]])
    fewer = named(tmp_path / "b", kind, ["dog", "fox"], [[0], [1], [0]])
    data = load(tmp_path, kind, train=train, validation=fewer, test=train)
    label = NAMED[kind][1]
    expected = {
        "SEQ_CLS": [1, 2, 1],
        "TOKEN_CLS": [[1], [2], [1]],
        "SEQ_CLS multi_label_classification": [[0, 1, 0], [0, 0, 1], [0, 1, 0]],
    }
    assert list(data.validation[label]) == expected[kind]
    assert data.labels == ("cat", "dog", "fox")
    other = named(tmp_path / "c", kind, ["dog", "owl"], [[0], [1]])
    with pytest.raises(AutopeftError, match="labels that data.train does not: owl"):
        load(tmp_path, kind, train=train, validation=other)
    hidden = named(tmp_path / "d", kind, ["cat", "dog", "fox"], [[-1], [-1]])
    with pytest.raises(AutopeftError, match="whose label is -1, which hides it"):
        load(tmp_path, kind, train=train, validation=hidden)


KIND_CASES = [
    ("SEQ_CLS regression", {"text": "a", "label": "x"}, {}, "needs numbers as labels, got 'x'"),
    ("SEQ_CLS regression", {"text": "a", "label": 1.5}, {}, "two labels or more, got only 1.5"),
    ("SEQ_CLS regression", {"text": "a", "label": 1e39}, {}, "32 bits hold, up to 3.4e38, got 1e+"),
    ("SEQ_CLS multi_label_classification", {"text": "a", "label": "x"}, {}, "a list of labels in"),
    ("SEQ_CLS multi_label_classification", {"text": "a", "label": []}, {}, "got only []"),
    (
        "SEQ_CLS multi_label_classification",
        {"text": "a", "label": [0, 1, 0]},
        {},
        "row 0 of data.train has 0 more than once: if they are marks of 0 and 1, list the labels",
    ),
    (
        "SEQ_CLS multi_label_classification",
        {"text": "a", "label": [False, True, True]},
        {},
        "needs each label once in a row, row 0 of data.train has True more than once",
    ),
    (
        "SEQ_CLS multi_label_classification",
        {"text": "a", "label": [0.0, 1.0]},
        {},
        "whole numbers, got 0.0: if they are marks of 0 and 1, list the labels that a row has, or "
        "give each label a column of its own and name all of them in data.columns.label",
    ),
    (
        "SEQ_CLS multi_label_classification",
        {"text": "a", "label": ["x", None]},
        {},
        "needs labels in its lists, row 0 of data.train has None: drop it",
    ),
    ("SEQ_CLS multi_label_classification", {"text": "a", "label": [["x"]]}, {}, "got ['x']: write"),
    (
        "SEQ_CLS multi_label_classification",
        {"text": "a", "x": 1, "y": 2},
        {"label": ["x", "y"]},
        "needs 0 or 1 in every row of 'y', got 2",
    ),
    (
        "TOKEN_CLS",
        {"tokens": ["a", "b"], "tags": ["O"]},
        {},
        "row 0 of data.train has 2 words and 1",
    ),
    ("TOKEN_CLS", {"tokens": "a b", "tags": ["O"]}, {}, "no list in column tokens"),
    ("TOKEN_CLS", {"tokens": ["a"], "ner": ["O"]}, {}, "does not have: 'tags'; it has tokens, ner"),
    ("TOKEN_CLS", {"tokens": ["a"], "tags": ["O"]}, {}, "two labels or more, got only ['O']"),
    ("TOKEN_CLS", {"tokens": ["a", None], "tags": ["O", "X"]}, {}, "row 0 of data.train has None:"),
    ("TOKEN_CLS", {"tokens": [7], "tags": ["O"]}, {}, "words that are text, row 0 of data.train"),
    ("TOKEN_CLS", {"tokens": ["a"], "tags": [None]}, {}, "has None: write O for it, or drop"),
    ("TOKEN_CLS", {"tokens": ["a"], "tags": [0.5]}, {}, "data.columns.tags takes strings or whole"),
    ("TOKEN_CLS", {"tokens": ["a"], "tags": [{"x": 1}]}, {}, "got {'x': 1}: write words"),
    ("SEQ_2_SEQ_LM", {"text": "a", "target": 3}, {}, "needs text in column 'target', got int64"),
    ("SEQ_2_SEQ_LM", {"text": "a", "target": None}, {}, "rows without: drop them"),
    ("IMAGE_CLS", {"image": "a.png", "label": 1}, {}, "holds no images but Value('string')"),
]


@pytest.mark.parametrize(("kind", "row", "columns", "said"), KIND_CASES)
def test_rows_that_make_no_sense_for_a_kind_are_one_message(tmp_path, kind, row, columns, said):
    source = jsonl(tmp_path, "train.jsonl", [row] * 4)
    with pytest.raises(AutopeftError, match=re.escape(said)):
        load(tmp_path, kind, train=source, validation=source, columns=columns)


@pytest.mark.parametrize("kind", ["TOKEN_CLS", "SEQ_CLS multi_label_classification"])
def test_a_named_label_that_is_missing_in_a_list_is_told(tmp_path, kind):
    train = named(tmp_path / "a", kind, ["cat", "dog"], [[0, 1], [None, 1]])
    with pytest.raises(AutopeftError, match="row 1 of data.train has None: "):
        load(tmp_path, kind, train=train, validation=train)


def test_numbers_are_those_of_32_bits(tmp_path):
    rows = [{"text": f"row {i}", "label": 2**24 + 2 * i} for i in range(4)]
    source = jsonl(tmp_path, "train.jsonl", rows)
    data = load(tmp_path, "SEQ_CLS regression", train=source, validation=source)
    assert data.train["label"][:] == [row["label"] for row in rows]
    assert data.train.features["label"].dtype == "float32"


def test_several_labels_come_as_a_list_or_as_columns_and_are_the_same(tmp_path):
    lists = [
        {"text": f"row {i}", "label": ["x"] * (i % 2) + ["y"] * (i % 3 == 0)} for i in range(6)
    ]
    marks = [{"text": f"row {i}", "x": i % 2, "y": int(i % 3 == 0)} for i in range(6)]
    kind = "SEQ_CLS multi_label_classification"
    first, second = jsonl(tmp_path, "lists.jsonl", lists), jsonl(tmp_path, "marks.jsonl", marks)
    one = load(tmp_path, kind, train=first, validation=first)
    other = load(tmp_path, kind, train=second, validation=second, columns={"label": ["x", "y"]})
    assert one.labels == other.labels == ("x", "y")
    assert one.train["label"][:] == other.train["label"][:]
    assert one.train["label"][0] == [0.0, 1.0]
    unseen = jsonl(tmp_path, "unseen.jsonl", [{"text": "a", "label": ["z"]}])
    with pytest.raises(
        AutopeftError, match="data.validation has labels that data.train does not: z"
    ):
        load(tmp_path, kind, train=first, validation=unseen)


def test_a_tag_that_training_never_saw_is_named(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": ["O", "B-X"]}]
    seen = jsonl(tmp_path, "seen.jsonl", rows)
    unseen = jsonl(tmp_path, "new.jsonl", [{"tokens": ["a"], "tags": ["B-Y"]}])
    with pytest.raises(AutopeftError, match="labels that data.train does not: B-Y"):
        load(tmp_path, "TOKEN_CLS", train=seen, validation=unseen)


def test_an_image_folder_that_is_not_there_is_named(tmp_path):
    source = {"path": "imagefolder", "data_dir": "nowhere"}
    with pytest.raises(AutopeftError, match="data.train.data_dir names a folder that does not exi"):
        load(tmp_path, "IMAGE_CLS", train=source, validation=source)


def test_an_image_counts_by_its_file_s_bytes_wherever_it_is(tmp_path):
    write_images(tmp_path / "images")
    source = {"path": "imagefolder", "data_dir": "images"}
    first = load(tmp_path, "IMAGE_CLS", train=source, validation=CARVE)
    assert first.labels == ("blue", "green", "red")
    shutil.copytree(tmp_path / "images", tmp_path / "other" / "images")
    moved = load(tmp_path / "other", "IMAGE_CLS", train=source, validation=CARVE)
    assert moved.fingerprint == first.fingerprint
    shutil.copytree(tmp_path / "images", tmp_path / "third" / "images")
    one = tmp_path / "third" / "images" / "green"
    shutil.copy(one / "3.png", one / "4.png")
    changed = load(tmp_path / "third", "IMAGE_CLS", train=source, validation=CARVE)
    assert changed.fingerprint != first.fingerprint


def test_the_fingerprint_sees_every_row_and_only_the_content(tmp_path, source):
    changed = [{**row, "text": "another"} if i == 9 else row for i, row in enumerate(ROWS)]
    other = jsonl(tmp_path, "other.jsonl", changed)
    first, again, middle = (
        load(tmp_path, train=one, validation=source) for one in (source, dict(source), other)
    )
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != middle.fingerprint
    assert re.fullmatch("rows-1:[0-9a-f]{64}", first.fingerprint)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("json", b'{"text": "a", "label": "x"}\n{"text": "b", \n' * 3, "cannot be loaded: "),
        ("csv", "text,label\nd\u00e9j\u00e0,x\n".encode("latin-1"), "can't decode byte 0xe9"),
        ("csv", b"text;label\na;x\na,b;y\n", "Error tokenizing data"),
        ("json", b"", "has no rows: give a file that has some"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_cause_and_once(
    tmp_path, capsys, path, text, said
):
    (tmp_path / "broken").write_bytes(text)
    with pytest.raises(AutopeftError, match=re.escape(said)) as caught:
        load(tmp_path, train={"path": path, "data_files": "broken"}, validation=CARVE)
    assert "broken" in str(caught.value)
    assert "occurred" not in str(caught.value)
    assert "Failed to" not in capsys.readouterr().err
