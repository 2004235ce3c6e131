"""Early stopping in a recipe, and from when on a network is the one that was counted."""

import pytest

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.recipes.recipe import trainer_arguments
from autopeft.domain.recipes.stopping import EarlyStopping, settled_at

PATIENT = {"early_stopping_patience": 3, "learning_rate": 1e-3}


def arguments(recipe):
    return trainer_arguments(recipe, seed=0, total_steps=10, on_cpu=True)


def test_none_is_asked_for_without_a_patience_or_the_best():
    assert EarlyStopping.of({"learning_rate": 1e-3}) is None
    off = {"early_stopping_patience": None, "load_best_model_at_end": False, "eval_steps": None}
    assert EarlyStopping.of(off) is None
    assert arguments(off) == arguments({})
    assert arguments(off)["eval_strategy"] == "no"


def test_what_is_left_open_is_the_loss_after_every_epoch():
    stopping = EarlyStopping.of(PATIENT)
    assert stopping == EarlyStopping(3, 0.0, False, "eval_loss", "minimize")
    found = arguments(PATIENT)
    assert found["eval_strategy"] == "epoch"
    assert found["metric_for_best_model"] == "eval_loss"
    assert found["greater_is_better"] is False
    assert not {"early_stopping_patience", "eval_steps"} & set(found)


def test_the_trainer_never_goes_back_by_itself():
    recipe = {"load_best_model_at_end": True, "metric_for_best_model": "eval_accuracy"}
    stopping = EarlyStopping.of(recipe)
    assert stopping == EarlyStopping(None, 0.0, True, "accuracy", "maximize")
    assert arguments(recipe)["load_best_model_at_end"] is False


@pytest.mark.parametrize(
    ("peft_type", "fields", "allocation", "step"),
    [
        ("LORA", {"r": 4}, ("uniform", {}), 0),
        ("LORA", {"r": 4}, ("lisa", {}), 0),
        ("LORA", {"r": 4}, ("adalora", {}), 70),  # the last three tenths have the final ranks
        ("LORA", {"r": 4}, ("adalora", {"tfinal": 5}), 95),
        ("ADALORA", {"target_r": 4, "tfinal": 20}, ("uniform", {}), 80),
        # 3 ranks more in each of 2 modules: 6 times one, every 10 steps after the first 10
        ("LORA", {"r": 4}, ("increlora", {"grown": 1}), 70),
        ("LORA", {"r": 4}, ("increlora", {"grown": 2, "period": 5, "warm_up": 0}), 15),
    ],
)
def test_evaluations_count_once_the_ranks_are_final(peft_type, fields, allocation, step):
    module = Module(peft_type, fields, ("layer.0.query", "layer.1.query"))
    architecture = Architecture((module,), allocation)
    assert settled_at(architecture, 100) == step
