"""`init` writes a file that validates, plans and searches as it is, or says what it cannot see."""

import json
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from jsonschema import Draft7Validator
from own_code import at_home
from task_data import EXAMPLES, write_task
from tiny_models import chats, make_model

from autopeft import build, cli
from autopeft.commands import starting as commands
from autopeft.commands.running import search
from autopeft.config import load, parse
from autopeft.config.reading import read
from autopeft.config.schema import space_schema
from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS

TEXTS = [{"text": f"what comes after {i % 9}", "label": ["low", "high"][i % 2]} for i in range(24)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    at_home(monkeypatch, tmp_path)
    return tmp_path


def write_rows(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))


def init(folder, data, **options):
    """The path that it wrote."""
    options = {"model": "model", "yes": True, "to": folder / "space.yaml"} | options
    commands.init(data=str(data), **options)
    return options["to"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_kind_of_task_is_seen_and_its_file_is_valid(folder, name):
    found = write_task(folder, name)
    source = found["data"]["train"]
    path = init(folder, source.get("data_files") or source["data_dir"])
    spec, _ = build.bound(load(path), path)
    assert spec.task == KINDS[name]
    assert [branch.name for branch in spec.space.searched] == ["lora", "ia3"]
    document = read(path)[0]
    assert list(Draft7Validator(space_schema()).iter_errors(document)) == []


def test_a_file_for_texts_with_labels_is_planned_and_searched(folder, capsys):
    make_model("bert", folder / "model", "SEQ_CLS")
    write_rows(folder / "rows.jsonl", TEXTS)
    path = init(folder, "rows.jsonl", trials=2)
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(path)]
    assert "task: SEQ_CLS, reading text as text, label as label" in said.err
    cli.plan(path)
    assert "lora " in capsys.readouterr().out
    search(path, local=True, quiet=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["front"]


@pytest.fixture
def chat(folder):
    make_model("llama", folder / "model", "CAUSAL_LM")
    write_rows(folder / "chats.jsonl", chats(24))
    return folder


def test_a_file_for_chats_is_planned(chat, capsys):
    path = init(chat, "chats.jsonl", trials=2)
    capsys.readouterr()
    cli.plan(path, as_json=True)
    rows = json.loads(capsys.readouterr().out)["branches"]
    assert [row["name"] for row in rows] == ["lora", "ia3", "lora_all_linear"]
    assert all(row["refused"] == 0 for row in rows)


@pytest.mark.long
def test_a_file_for_chats_is_searched(chat, capsys):
    path = init(chat, "chats.jsonl", trials=2)
    capsys.readouterr()
    search(path, local=True, quiet=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["front"]


def test_what_is_commented_out_is_valid_too(folder):
    make_model("bert", folder / "model", "SEQ_CLS")
    write_rows(folder / "rows.jsonl", TEXTS)
    path = init(folder, "rows.jsonl")
    text = path.read_text()
    for start in ("  # test: ", "# constraints: "):
        assert start in text
        text = text.replace(start, start.replace("# ", ""))
    path.write_text(text)
    spec = load(path)
    assert spec.data["test"] == {"carve": 0.1, "from": "train", "seed": 1}
    assert len(spec.constraints) == 1


def test_a_file_in_the_way_stays_unless_forced(folder):
    (folder / "space.yaml").write_text("mine")
    with pytest.raises(AutopeftError, match="space.yaml exists: write another by --to, or over it"):
        init(folder, "nowhere.jsonl")
    assert (folder / "space.yaml").read_text() == "mine"
    make_model("bert", folder / "model", "SEQ_CLS")
    write_rows(folder / "rows.jsonl", TEXTS)
    init(folder, "rows.jsonl", force=True)
    assert load(folder / "space.yaml").name == "rows"


def test_without_anybody_to_ask_the_flag_is_named(folder):
    with pytest.raises(AutopeftError, match="cannot see which model to adapt: say it by --model"):
        init(folder, "rows.jsonl", model=None)
    make_model("bert", folder / "model", "SEQ_CLS")
    rows = [{"a": "what comes", "b": f"after {i}", "label": i % 2} for i in range(8)]
    write_rows(folder / "rows.jsonl", rows)
    said = r"cannot see which column holds the text \(a, b\): say it by --column text=NAME"
    with pytest.raises(AutopeftError, match=said):
        init(folder, "rows.jsonl")
    assert not (folder / "space.yaml").exists()
    path = init(folder, "rows.jsonl", column=["text=b"], study="named")
    assert load(path).data["columns"] == {"text": "b", "label": "label"}
    assert load(path).name == "named"


def test_a_terminal_is_asked_until_the_answer_is_one_there_is(folder, monkeypatch):
    make_model("bert", folder / "model", "SEQ_CLS")
    rows = [{"a": "what comes", "b": f"after {i}", "label": i % 2} for i in range(8)]
    write_rows(folder / "rows.jsonl", rows)
    answers = iter(["model", "rows.jsonl", "c", "a"])
    asked = []

    def prompt(text, **_):
        asked.append(text)
        return next(answers)

    monkeypatch.setattr(commands.typer, "prompt", prompt)
    monkeypatch.setattr(commands.sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    commands.init(to=folder / "space.yaml")
    assert asked == [
        "Which model to adapt",
        "Where the training rows are",
        *["Which column holds the text (a, b)"] * 2,
    ]
    assert load(folder / "space.yaml").data["columns"]["text"] == "a"


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "saved", "folder"])
def test_data_of_every_kind_are_found_with_what_lies_beside_them(folder, kind):
    make_model("bert", folder / "model", "SEQ_CLS")
    data = folder / "data"
    data.mkdir()
    rows = Dataset.from_list(TEXTS)
    given = data / f"train.{kind}"
    if kind == "saved":
        given = data / "saved"
        DatasetDict({"train": rows, "test": rows, "dev": rows}).save_to_disk(given)
    elif kind == "folder":
        given = data
        for split in ("train", "dev"):
            write_rows(data / f"{split}.jsonl", TEXTS)
    else:
        writers = {"csv": "to_csv", "tsv": "to_csv", "parquet": "to_parquet"}
        for split in ("train", "dev", "test"):
            options = {"sep": "\t"} if kind == "tsv" else {}
            getattr(rows, writers[kind])(data / f"{split}.{kind}", **options)
    (folder / "spaces").mkdir()
    path = init(folder, given, to=folder / "spaces" / "space.yaml")
    found = load(path).data
    assert "carve" not in found["validation"]
    assert ("test" in found) == (kind != "folder")
    assert all(not Path(str(v)).is_absolute() for v in found["train"].values())
    assert parse(read(path)[0], folder=str(path.parent)).model["model_name_or_path"] == "../model"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("rows.xml", "init reads .jsonl, .json, .csv"),
        ("nowhere.jsonl", "--data names a file that does not exist: nowhere.jsonl"),
        ("one.jsonl", "data needs two rows or more, got 1 in one.jsonl"),
    ],
)
def test_data_that_cannot_be_read_are_said(folder, data, said):
    make_model("bert", folder / "model", "SEQ_CLS")
    (folder / "rows.xml").write_text("<a/>")
    write_rows(folder / "one.jsonl", TEXTS[:1])
    with pytest.raises(AutopeftError, match=said):
        init(folder, data)


def test_chats_want_a_chat_template(chat):
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        if (file := chat / "model" / name).exists():
            if name.endswith(".jinja"):
                file.unlink()
            else:
                kept = json.loads(file.read_text())
                kept.pop("chat_template", None)
                file.write_text(json.dumps(kept))
    with pytest.raises(AutopeftError, match="tokenizer of ./model has no chat template"):
        init(chat, "chats.jsonl")


def test_what_is_left_to_mend_is_said_and_the_file_stays(folder):
    make_model("bert", folder / "model", "SEQ_CLS")
    write_rows(
        folder / "rows.jsonl",
        [{**row, "text": None} if i == 3 else row for i, row in enumerate(TEXTS)],
    )
    with pytest.raises(
        AutopeftError, match="is written, and something is left to mend:\n.*space.y"
    ):
        init(folder, "rows.jsonl")
    assert (folder / "space.yaml").exists()


def test_a_model_that_is_not_there_is_said(folder):
    with pytest.raises(AutopeftError, match="model_name_or_path names no folder"):
        init(folder, "rows.jsonl", model="./nowhere")
