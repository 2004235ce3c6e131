"""Mistakes are shown where they stand: line, column, the text itself, and what to write instead."""

import json
import re
from pathlib import Path

import pytest
from fakes import bert_shape

from autopeft import build
from autopeft.config import bind, load
from autopeft.domain.errors import AutopeftError, Mistake, Span, SpecError

SPACE = """\
autopeft: 1
study: here
model: {model_name_or_path: bert-base-uncased, task_type: SEQ_CLASS}
data:
  train: {path: json, data_files: rows.jsonl}
  validation: {carve: 0.1, from: train}
training:
  num_train_epoch: 4
modules: [{peft_type: LORA, r: &r {choice: [1, four]}, target_modules: [quary]}]
objectives: [accuracy]
budget: {trials: 0}  # none
"""


def shown(path, *settings):
    with pytest.raises(SpecError) as caught:
        load(path, settings)
    return str(caught.value)


def test_every_mistake_has_its_place_its_line_and_what_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    assert (
        shown(path.relative_to(tmp_path))
        == """\
space.yaml: 4 mistakes
space.yaml:3:59: model.task_type: takes a task type, got 'SEQ_CLASS'
    3 | model: {model_name_or_path: bert-base-uncased, task_type: SEQ_CLASS}
      |                                                           ^^^^^^^^^
      | = did you mean SEQ_CLS?

space.yaml:8:3: training.num_train_epoch: TrainingArguments has no field 'num_train_epoch'
    8 |   num_train_epoch: 4
      |   ^^^^^^^^^^^^^^^ did you mean num_train_epochs?

space.yaml:9:48: modules[0].r.choice[1]: r takes a whole number, got 'four'
    9 | ...peft_type: LORA, r: &r {choice: [1, four]}, target_modules: [quary]}]
      |                                        ^^^^

space.yaml:11:18: budget.trials: takes a number from 1, got 0
   11 | budget: {trials: 0}  # none
      |                  ^"""
    )


def test_what_only_the_model_shows_has_its_place_too(tmp_path):
    path = tmp_path / "space.yaml"
    sound = SPACE.replace("SEQ_CLASS", "SEQ_CLS").replace("epoch:", "epochs:")
    path.write_text(sound.replace("four", "4").replace("trials: 0", "trials: 3"))
    with pytest.raises(SpecError) as caught:
        bind(load(path), bert_shape(), source=path)
    (mistake,) = caught.value.mistakes
    span = mistake.span
    assert span.text[span.column - 1 :][: span.width] == "quary"
    assert mistake.suggestion == "did you mean query?"


def test_a_field_that_no_trial_trains_with_is_shown_where_it_stands(tmp_path):
    path = tmp_path / "space.yaml"
    sound = SPACE.replace("SEQ_CLASS", "SEQ_CLS").replace("four", "4").replace("quary", "query")
    sound = sound.replace("trials: 0", "trials: 3").replace("epoch: 4", "epochs: 4")

    def mistakes(text):
        path.write_text(text)
        with pytest.raises(SpecError) as caught:
            bind(load(path), bert_shape(), source=path)
        return caught.value.mistakes

    shared = sound.replace("epochs: 4", "epochs: 4\n  lr_scheduler_type: greedy")
    (mistake,) = mistakes(shared)  # of the branch and of its baseline
    assert str(mistake).startswith("line 9: training.lr_scheduler_type: lr_scheduler_type greedy")
    assert mistake.span.text[mistake.span.column - 1 :][: mistake.span.width] == "greedy"
    modules = next(line for line in sound.splitlines() if line.startswith("modules"))
    branch = "space:\n  a:\n    " + modules + "\n    training: {ddp_backend: gloo}"
    (mistake,) = mistakes(sound.replace(modules, branch))
    assert mistake.path == "space.a.training.ddp_backend"
    assert (mistake.span.line, mistake.span.column) == (12, 29)
    assert "got gloo and one process" in mistake.message


def test_what_is_wrong_by_default_is_shown_at_the_branch(tmp_path):
    """`gradient_checkpointing`, which the file does not name, is on in TRL's trainer."""
    rows = {"path": "json", "data_files": "rows.jsonl"}
    document = {
        "autopeft": 1,
        "study": "chat",
        "model": {"model_name_or_path": "m", "task_type": "CAUSAL_LM"},
        "data": {"train": rows, "validation": rows},
        "objectives": ["eval_loss"],
        "budget": {"trials": 3},
        "modules": [{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}],
        "baselines": False,
    }
    path = tmp_path / "space.yaml"
    path.write_text(json.dumps(document))
    with pytest.raises(SpecError, match="modules: this model takes no configuration of it") as told:
        bind(load(path), bert_shape(), source=path)
    assert "put gradient_checkpointing: false into training" in str(told.value)


def test_data_that_are_not_there_are_shown_where_they_are_named(tmp_path):
    path = tmp_path / "space.yaml"
    sound = SPACE.replace("SEQ_CLASS", "SEQ_CLS").replace("epoch:", "epochs:")
    path.write_text(sound.replace("four", "4").replace("trials: 0", "trials: 3"))
    with pytest.raises(SpecError) as caught:
        build.bound(load(path), path)
    said = str(caught.value)
    assert "data.train.data_files names a file that does not exist" in said
    assert f"{path}:5:35: " in said
    assert said.endswith("| " + 34 * " " + "^" * len("rows.jsonl"))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"texts": "a", "label": 1}))
    with pytest.raises(SpecError, match=r":6:23: data.validation.carve needs two rows of train"):
        build.bound(load(path), path)
    rows = [json.dumps({"texts": f"a {i}", "label": i}) for i in range(2)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with pytest.raises(SpecError, match=r":4:1: data.columns.text names a column that"):
        build.bound(load(path), path)
    settings = ["data.train.data_files=others.jsonl"]
    with pytest.raises(SpecError, match=r"\n  --set data.train.data_files names a file"):
        build.bound(load(path, settings), path)
    with pytest.raises(AutopeftError, match=r"^data.train.data_files names a file"):
        build.bound(load(path, settings))  # from no file: nothing to point to


def test_what_was_set_on_the_command_line_is_not_shown_in_the_file(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    said = shown(path, "budget.trials=-1", "search.sampler=bayes")
    assert "\n  --set budget.trials: takes a number from 1, got -1" in said
    assert "\n  --set search.sampler: there is no sampler 'bayes'" in said
    assert "^ none" not in said
    assert ":8:3: training.num_train_epoch" in said


@pytest.mark.parametrize(
    ("text", "underlined"),
    [
        ("autopeft: 2", "2"),
        ("studdy: x", "studdy"),
        ("study: 'a b'  # blank", "'a b'"),
        ("study: |\n  a b\n  c", "|"),
        ("budget: &b {trials: 0}\nresources: *b", "0"),
        ("budget:\n  trials:\n    0", "trials"),
        ("objectives:\n  - accuracy\n  - f\u00e4hig  # so", "f\u00e4hig"),
        ("space:\n  a:\n    modules: []\n    layers: {firsts: 2}", "{firsts: 2}"),
        ("budget: {trials: 1\n  , trails: 2}", "trails"),
    ],
)
def test_the_text_that_is_wrong_is_what_is_underlined(tmp_path, text, underlined):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load(path)
    spans = [mistake.span for mistake in caught.value.mistakes if mistake.span]
    assert underlined in [span.text[span.column - 1 :][: span.width] for span in spans]


def test_what_is_no_yaml_is_shown_where_reading_ended(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("autopeft: 1\nstudy: [a, b\nmodel: {}\n")
    assert ":3:6: file: not YAML: " in shown(path)
    path.write_text("a: 1\nb: {c: 1, c: 2}\n")
    assert "    2 | b: {c: 1, c: 2}\n      |           ^" in shown(path)


@pytest.mark.parametrize("column", [1, 60, 140, 196])
def test_an_excerpt_keeps_to_80_columns_and_holds_the_place(column):
    text = "".join(chr(ord("a") + i % 26) for i in range(200))
    lines = Span(12345, column, 4, text).excerpt("a hint of many words " * 9)
    assert max(map(len, lines)) <= 80
    line, carets, *_ = lines
    start = carets.index("^")
    assert carets.count("^") == 4
    assert line[start : start + 4] == text[column - 1 : column + 3]


def test_a_mistake_without_a_place_is_one_line():
    error = SpecError([Mistake("study", "takes a name", "name it"), Mistake("a.b", "is wrong")])
    assert str(error) == "space file: 2 mistakes\n  study: takes a name (name it)\n  a.b: is wrong"


def test_the_mistakes_that_the_documents_show_are_shown(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "getting-started.md").read_text()
    (space,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (told,) = re.findall(r"```text\nerror: (space.yaml: .*?)\n```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    path = Path("space.yaml")
    path.write_text(space.replace("SEQ_CLS", "SEQ_CLASS").replace("[accuracy]", "[acuracy]"))
    assert shown(path) == told
