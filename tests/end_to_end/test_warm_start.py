"""A search that starts from one on another model, in one store, through the command line."""

import json
import sqlite3

import pytest
from command_line import here
from tiny_models import make_model
from tiny_study import write_study

SPACE = """
study: first
training: {per_device_train_batch_size: 16, max_steps: 3}
space:
  lora:
    layers: {bits: shared}
    modules: [{peft_type: LORA, r: {choice: [1, 2, 4]}, target_modules: [query, value]}]
baselines:
  house:
    modules: [{peft_type: LORA, r: 8, target_modules: [query]}]
    training: {learning_rate: 1e-3}
objectives:
  - {metric: accuracy, goal: maximize}
  - {metric: adapter_params, goal: minimize, scale: log}
budget: {trials: 5}
search: {seed: 0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("user"), SPACE)
    make_model("bert", folder / "bert2", "SEQ_CLS", num_hidden_layers=2, hidden_size=64)
    return folder


SECOND = ("study=second", "search.warm_start=first", "model.model_name_or_path=bert2")


def second(folder, *more, code=0):
    told = sets(*SECOND, *more)
    return here(folder, "search", "space.yaml", "--local", "-q", "--extend", *told, code=code)


def looked_at(folder):
    """What is said of the earlier study before anything runs, by `validate` and by `plan`."""
    valid = here(folder, "validate", "space.yaml", *sets(*SECOND))
    planned = here(folder, "plan", "space.yaml", "--json", *sets(*SECOND))
    return valid.stderr, json.loads(planned.stdout).get("search")


def sets(*values):
    return [part for value in values for part in ("--set", value)]


def test_a_study_starts_from_one_on_another_model_and_goes_on_with_what_it_took_over(folder):
    missing = "search.warm_start names studies of this store, got first: it has none"
    assert missing in second(folder, code=2).stderr
    said, planned = looked_at(folder)
    assert missing in said
    assert planned == [missing]
    here(folder, "search", "space.yaml", "--local", "-q")
    said, planned = looked_at(folder)
    assert "warm_start" not in said
    assert planned is None
    second(folder)
    whys, kept = in_store(folder, "second")
    assert len(whys) == 5
    assert any("from earlier studies" in why for why in whys), whys
    (taken,) = json.loads(kept)
    assert (taken["study"], taken["layers"], len(taken["seen"])) == ("first", 3, 5)

    timed = second(
        folder, "study=third", "objectives=[accuracy, train_seconds]", "search.rungs={steps: [1]}"
    )
    whys, same = in_store(folder, "third")
    assert any("from earlier studies" in why for why in whys), whys
    assert same == kept
    assert "not drawn" not in timed.stdout + timed.stderr

    (folder / "bert").rename(folder / "gone")
    second(folder, "budget.trials=6")
    more, still = in_store(folder, "second")
    assert len(more) == 6
    assert still == kept


def in_store(folder, study):
    """Why each trial of a study was tried, and what the study took over."""
    with sqlite3.connect(folder / "autopeft-studies" / "autopeft.db") as database:
        whys = database.execute("SELECT why FROM trials WHERE study = ?", [study]).fetchall()
        fact = "SELECT value FROM facts WHERE key = 'warm_start' AND study = ?"
        ((kept,),) = database.execute(fact, [study]).fetchall()
    return [why for (why,) in whys], kept
