"""Objectives and constraints that need a price, a corpus, or a way to be served."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import bert_shape, study_spec

from autopeft import build
from autopeft.config import parse, widens
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError

GOOD = Path(__file__).with_name("good.yaml")


def document(**changes):
    return {**read(GOOD)[0], **changes}


def language(**changes):
    files = {"path": "json", "data_files": "x.jsonl"}
    found = document(
        model={"model_name_or_path": "gpt2", "task_type": "CAUSAL_LM"},
        trainer="trl.SFTTrainer",
        data={"train": files, "validation": files},
        objectives=["eval_loss"],
        constraints=[],
    )
    return {**found, **changes}


def mistakes(plain):
    with pytest.raises(SpecError) as caught:
        parse(plain, folder=".")
    return {mistake.path: str(mistake) for mistake in caught.value.mistakes}


def test_a_price_makes_cost_an_objective():
    priced = document(
        objectives=["accuracy", "cost"],
        resources={"cpus_per_trial": 1, "price_per_hour": 2.5},
    )
    spec = parse(priced, folder=".")
    assert spec.resources.price_per_hour == 2.5
    assert {"accuracy", "cost"} <= spec.asked
    found = mistakes({**priced, "resources": {"cpus_per_trial": 1}})
    assert "cost needs the price of a device's hour" in found["objectives[1]"]
    assert "price_per_hour: 2.5" in found["objectives[1]"]
    found = mistakes({**priced, "resources": {"price_per_hour": -1}})
    assert "takes a number from 0, got -1" in found["resources.price_per_hour"]


def test_a_price_that_changes_makes_another_study():
    old = document(resources={"price_per_hour": 1.0})
    assert not widens(old, document(resources={"price_per_hour": 2.0}))
    assert widens(document(), old)
    assert widens(old, document(resources={"price_per_hour": 1.0, "cpus_per_trial": 2}))
    assert widens(document(), document(resources={"cpus_per_trial": 2}))


def test_forgetting_needs_a_language_model_and_a_corpus():
    wanted = language(objectives=["eval_loss", "forgetting"])
    assert "general corpus" in mistakes(wanted)["objectives[1]"]
    general = {"path": "json", "data_files": "general.jsonl"}
    given = {**wanted, "data": {**wanted["data"], "general": general, "limit": {"general": 5}}}
    assert "forgetting" in parse(given, folder=".").asked
    carved = {**given["data"], "general": {"carve": 0.1, "from": "train"}}
    assert "cannot be carved" in mistakes({**given, "data": carved})["data.general"]
    assert (
        "measures no forgetting"
        in mistakes(document(objectives=["forgetting"]))["objectives[0].metric"]
    )
    data = {**document()["data"], "general": general}
    assert "SEQ_CLS measures none" in mistakes(document(data=data))["data.general"]


def test_calibration_is_of_classes():
    assert parse(document(objectives=["accuracy", "calibration_error"]), folder=".").objectives
    found = mistakes(language(objectives=["calibration_error"]))
    assert "CAUSAL_LM measures no calibration_error" in found["objectives[0].metric"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"servable": "tgi"}, "{servable: vllm or merged}, got"),
        ({"servable": "vllm", "rank": 8}, "{servable: vllm or merged}, got"),
        ({"served": "vllm"}, "{servable: vllm or merged}, got"),
        ({"servable": "vllm"}, "got task_type SEQ_CLS"),
    ],
)
def test_a_way_of_serving_that_is_none_is_said(given, said):
    assert said in mistakes(document(constraints=[given]))["constraints[0]"]


def test_servable_is_a_known_constraint_that_refuses_what_is_not():
    (constraint,) = parse(language(constraints=[{"servable": "vllm"}]), folder=".").constraints
    assert constraint.known
    assert constraint.text == "servable: vllm"


def test_what_does_not_merge_is_no_candidate():
    serial = {"modules": [{"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 4}]}
    lora = {"modules": [{"peft_type": "LORA", "r": 4, "target_modules": ["query"]}]}
    spec = parse(document(constraints=[{"servable": "merged"}]), folder=".")
    space = study_spec(branches={"serial": serial, "lora": lora}).space
    problem = build.problem(replace(spec, space=space), bert_shape())
    assert problem.admissible({"branch": "serial"}) is None
    found = problem.admissible({"branch": "lora"})
    assert found is not None
    assert problem.known(found.architecture)["servable_merged"] == 1.0


def test_what_nobody_asks_for_is_not_among_the_known():
    spec = parse(document(), folder=".")
    problem = build.problem(spec, bert_shape())
    point = problem.space.draw(np.random.default_rng(0))
    known = problem.known(problem.configure(point).architecture)
    assert not any(name.startswith("servable") for name in known)


def test_a_range_of_steps_widens_by_whole_steps():
    def sized(low, high, step):
        return {"parameters": {"size": {"low": low, "high": high, "step": step}}}

    assert widens(sized(2, 8, 2), sized(0, 9, 2))
    assert not widens(sized(2, 8, 2), sized(1, 9, 2))  # 2 is none of 1, 3, 5, ...
    assert widens(sized(0.3, 0.5, 0.1), sized(0.0, 0.5, 0.1))
    assert not widens(sized(0.3, 0.5, 0.1), sized(0.05, 0.5, 0.1))
