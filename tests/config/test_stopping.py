"""Early stopping in `training:`, by the names that users of the Trainer know."""

from pathlib import Path

import pytest

from autopeft.config import parse
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError

GOOD = Path(__file__).with_name("good.yaml")
OWN = {"low": {"function": "mine:low", "goal": "minimize"}}


def document(training, **changes):
    module = {"peft_type": "LORA", "target_modules": "query"}
    space = {"one": {"modules": [module], "training": changes.pop("branch", {})}}
    plain = {**read(GOOD)[0], "space": space, "training": training, "search": {}, **changes}
    return {k: v for k, v in plain.items() if v is not None}


def recipe(training, **changes):
    """Of the only branch."""
    return parse(document(training, **changes), folder=".").space.searched[0].tree["training"]


def mistakes(training, **changes):
    with pytest.raises(SpecError) as caught:
        parse(document(training, **changes), folder=".")
    return {mistake.path: str(mistake) for mistake in caught.value.mistakes}


def test_what_is_asked_for_stays_in_the_recipe():
    training = {"early_stopping_patience": 1, "eval_strategy": "steps", "eval_steps": 50}
    assert training.items() <= recipe(training).items()
    assert recipe({"load_best_model_at_end": True})["load_best_model_at_end"] is True


def test_patience_may_be_searched():
    training = {"early_stopping_patience": {"choice": [2, 5]}, "learning_rate": 1e-3}
    spec = parse(document(training), folder=".")
    (parameter,) = spec.space.searched[0].parameters
    assert parameter.name == "training.early_stopping_patience"


def test_a_branch_may_have_its_own_and_may_have_none():
    assert recipe({}, branch={"early_stopping_patience": 2})["early_stopping_patience"] == 2
    none = recipe({"early_stopping_patience": 3}, branch={"early_stopping_patience": None})
    assert none["early_stopping_patience"] is None


def test_the_goal_of_a_metric_of_the_user_s_goes_along():
    training = {"early_stopping_patience": 2, "metric_for_best_model": "low"}
    assert recipe(training, metrics=OWN)["greater_is_better"] is False


def test_nothing_is_said_at_the_trainer_s_defaults():
    training = {"eval_strategy": "no", "metric_for_best_model": None, "eval_steps": None}
    assert not training.keys() & recipe({**training, "load_best_model_at_end": False}).keys()


PATIENT = {"early_stopping_patience": 3}
BAD = {
    "nobody asks": ({"eval_strategy": "epoch"}, "eval_strategy", "autopeft sets eval_strategy its"),
    "the best of nothing": (
        {"metric_for_best_model": "accuracy"},
        "metric_for_best_model",
        "objectives say what is best",
    ),
    "a threshold alone": (
        {"early_stopping_threshold": 0.1},
        "early_stopping_threshold",
        "needs a patience",
    ),
    "a threshold without patience": (
        {"load_best_model_at_end": True, "early_stopping_threshold": 0.1},
        "early_stopping_threshold",
        "needs a patience",
    ),
    "no patience": ({"early_stopping_patience": 0}, "early_stopping_patience", "from 1, got 0"),
    "half a patience": (
        {"early_stopping_patience": 1.5},
        "early_stopping_patience",
        "takes a whole number from 1, got 1.5",
    ),
    "patience of a text": (
        {"early_stopping_patience": "3"},
        "early_stopping_patience",
        "takes a whole number from 1, got '3'",
    ),
    "an option": (
        {"early_stopping_patience": {"choice": [2, 0]}},
        "early_stopping_patience.choice[1]",
        "takes a whole number from 1, got 0",
    ),
    "a range": (
        {"early_stopping_patience": {"low": 0, "high": 3}},
        "early_stopping_patience",
        "takes a whole number from 1",
    ),
    "below": (
        {**PATIENT, "early_stopping_threshold": -1},
        "early_stopping_threshold",
        "takes a number from 0, got -1",
    ),
    "when": ({**PATIENT, "eval_strategy": "best"}, "eval_strategy", "got 'best'"),
    "steps without": ({**PATIENT, "eval_strategy": "steps"}, "eval_strategy", "needs eval_steps"),
    "steps of epochs": ({**PATIENT, "eval_steps": 5}, "eval_steps", "with eval_strategy: steps"),
    "no steps": (
        {**PATIENT, "eval_strategy": "steps", "eval_steps": 0},
        "eval_steps",
        "takes steps from 1, or a share of the run below 1, got 0",
    ),
    "varies": (
        {**PATIENT, "eval_strategy": {"choice": ["epoch", "steps"]}},
        "eval_strategy",
        "takes one value in a branch",
    ),
    "by f1": (
        {**PATIENT, "metric_for_best_model": "f1"},
        "metric_for_best_model",
        "judged by eval_loss, accuracy, got 'f1'",
    ),
    "upside down": (
        {**PATIENT, "metric_for_best_model": "eval_accuracy", "greater_is_better": False},
        "greater_is_better",
        "accuracy is one to maximize, got False",
    ),
    "a switch": (
        {"load_best_model_at_end": "yes"},
        "load_best_model_at_end",
        "takes true or false, got 'yes'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_told_once_with_its_path(name):
    training, field, text = BAD[name]
    found = mistakes(training)
    assert list(found) == [f"training.{field}"], found
    assert text in found[f"training.{field}"]


def test_a_mistake_of_a_branch_is_told_there():
    found = mistakes({}, branch={"early_stopping_patience": 0})
    assert list(found) == ["space.one.training.early_stopping_patience"]


def test_language_models_are_judged_by_their_loss():
    files = {"path": "json", "data_files": "x.jsonl"}
    found = mistakes(
        {**PATIENT, "metric_for_best_model": "low"},
        model={"model_name_or_path": "gpt2", "task_type": "CAUSAL_LM"},
        trainer="trl.SFTTrainer",
        data={"train": files, "validation": files},
        objectives=["eval_loss"],
        constraints=[],
        baselines=None,
        metrics=OWN,
    )
    assert "judged by eval_loss, got 'low'" in found["training.metric_for_best_model"]


def test_code_of_the_user_s_stops_by_itself():
    plain = {
        "autopeft": 1,
        "study": "s",
        "evaluator": "a.b:c",
        "parameters": {"x": {"choice": [1, 2]}},
        "training": PATIENT,
        "metrics": {"recall": {"goal": "maximize"}},
        "objectives": ["recall"],
        "budget": {"trials": 2},
    }
    with pytest.raises(SpecError, match="an evaluator trains by itself"):
        parse(plain, folder=".")
