"""The JSON schema of a space file says what its checks say."""

import copy
import json
import re
import sys
from pathlib import Path

import pytest
from config.test_broken_anyhow import DOCUMENT, PLACES, VALUES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from autopeft.config import names, parse
from autopeft.config.reading import read
from autopeft.config.schema import DESCRIPTIONS, space_schema
from autopeft.config.spec import KEYS
from autopeft.domain.errors import SpecError

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("search_spaces", "benchmarks", "docs/examples", "tests/config")
    for path in (ROOT / folder).rglob("*.yaml")
)
SCHEMA = space_schema()
VALIDATOR = Draft7Validator(SCHEMA)


def wrong(document):
    return [
        f"{error.json_path}: {error.message[:200]}" for error in VALIDATOR.iter_errors(document)
    ]


def test_it_is_a_schema_and_has_every_key():
    Draft7Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(KEYS)
    assert set(DESCRIPTIONS) == set(KEYS)
    json.dumps(SCHEMA, allow_nan=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_file_fits(path):
    assert wrong(read(path)[0]) == []


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_whatever_the_checks_take_fits(place, value):
    document = copy.deepcopy(DOCUMENT)
    *parents, last = place
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    try:
        parse(document, folder=".")
    except SpecError:
        return
    # `or []`: the checks read any empty value there as no constraints.
    if document["constraints"] or document["constraints"] == []:
        assert wrong(document) == []


CHANGES = {
    "an unknown key": ((), "bugdet", {"trials": 3}, "bugdet"),
    "another version": ((), "autopeft", 2, "1 was expected"),
    "a misspelt task": (("model",), "task_type", "SEQ_CLASS", "SEQ_CLASS"),
    "an argument of another trainer": (("training",), "packing", True, "packing"),
    "a text for a number": (("training",), "num_train_epochs", "many", "many"),
    "a value that lr_scheduler_type lacks": (("training",), "lr_scheduler_type", "cosin", "cosin"),
    "a rate below 0": (("space", "lora", "training"), "learning_rate", -1e-4, "-0.0001"),
    "a range without its end": (
        ("space", "lora", "training"),
        "learning_rate",
        {"low": 1e-4},
        "not valid",
    ),
    "a type that PEFT lacks": (("space", "lora", "modules", 0), "peft_type", "LORRA", "LORRA"),
    "a field of another type": (("space", "ia3", "modules", 0), "r", 8, "'r' was unexpected"),
    "a key of no branch": (("space", "lora"), "module", [], "module"),
    "a misspelt layer": (("space", "lora"), "layers", {"lasts": 2}, "lasts"),
    "no such allocation": (("space", "lora"), "allocation", "adalore", "adalore"),
    "an option of another allocation": (
        ("space", "lora"),
        "allocation",
        {"owlore": {"periods": 2}},
        "periods",
    ),
    "a goal": (("objectives", 0), "goal", "max", "max"),
    "a budget of nothing": ((), "budget", {}, "{}"),
    "no trials": (("budget",), "trials", 0, "minimum of 1"),
    "a sampler": (("search",), "sampler", "bayes", "bayes"),
    "a rung": (("search", "rungs"), "epoch", [1], "epoch"),
    "a split from nowhere": (("data",), "train", {"data_files": "a"}, "data_files"),
    "a column of no task": (("data", "columns"), "texts", "a", "texts"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_the_checks_refuse_does_not_fit(case):
    parents, key, value, said = CHANGES[case]
    document = copy.deepcopy(DOCUMENT)
    node = document
    for step in parents:
        node = node[step]
    node[key] = value
    with pytest.raises(SpecError):
        parse(document, folder=".")
    assert any(said in text for text in wrong(document)), wrong(document)


def test_a_trainer_has_its_own_arguments():
    path = ROOT / "search_spaces" / "sft_lora.yaml"
    document = read(path)[0]
    del document["trainer"]  # the task says it
    assert wrong(document) == []
    document["space"]["lora"]["training"]["packing"] = True
    assert wrong(document) == []
    document["space"]["lora"]["training"]["predict_with_generate"] = False
    assert any("predict_with_generate" in text for text in wrong(document))


def test_every_key_that_a_check_knows_is_one_of_the_schema(monkeypatch):
    """Keys that a check learns and the schema does not, or the other way round, show here."""
    heard = {}
    check = names.check_names

    def listen(path, got, known, what, complain):
        heard.setdefault(re.sub(r"\[\d+\]", "[]", path), set()).update(known)
        check(path, got, known, what, complain)

    for module in list(sys.modules.values()):
        if module.__name__.startswith("autopeft.config") and hasattr(module, "check_names"):
            monkeypatch.setattr(module, "check_names", listen)
    for path in FILES:
        parse(read(path)[0], folder=".")
    more = {
        "budget": {"trials": 99},
        "search": {"sampler": {"name": "autopeft"}, "stop": {"min_gain": 0.1}},
        "evaluation": {"generate": {}},
        "confirm": {"seeds": 2},
    }
    parse({**DOCUMENT, **{k: v for k, v in more.items() if k != "evaluation"}}, folder=".")
    expected = {
        "": SCHEMA,
        "search": SCHEMA["properties"]["search"],
        "search.rungs": SCHEMA["properties"]["search"]["properties"]["rungs"],
        "search.stop": SCHEMA["properties"]["search"]["properties"]["stop"],
        "budget": SCHEMA["properties"]["budget"],
        "resources": SCHEMA["properties"]["resources"],
        "evaluation": SCHEMA["properties"]["evaluation"],
        "evaluation.generate": SCHEMA["properties"]["evaluation"]["properties"]["generate"],
        "confirm": SCHEMA["properties"]["confirm"]["anyOf"][0],
        "space.lora": SCHEMA["definitions"]["branch"],
        "objectives[]": SCHEMA["properties"]["objectives"]["items"]["anyOf"][1],
    }
    for path, node in expected.items():
        assert set(node["properties"]) == heard[path], path
    assert heard["model"] < set(SCHEMA["properties"]["model"]["properties"])
    assert heard["data"] < set(SCHEMA["definitions"]["data"]["properties"])
