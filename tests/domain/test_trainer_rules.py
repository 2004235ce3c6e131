"""Recipes that no trainer takes as they stand, and rows that are too long for a model."""

import inspect
from dataclasses import replace

import pytest
from fakes import bert_shape

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.recipes.recipe import RecipeError
from autopeft.domain.rules.trainer_rules import _TAKING, refuse_too_long, refuse_untrainable


def refuse(trainer="transformers.Trainer", **recipe):
    found = Configuration("main", Architecture(full_fine_tuning=True), recipe)
    refuse_untrainable(found, bert_shape(), trainer)


@pytest.mark.parametrize(
    ("schedule", "rule"),
    [
        ("reduce_lr_on_plateau", "follows evaluations, .* early_stopping_patience"),
        ("greedy", "follows evaluations, .* early_stopping_patience"),
        ("cosine_with_min_lr", "needs min_lr_rate or min_lr: add lr_scheduler_kwargs"),
        ("cosine_warmup_with_min_lr", "needs min_lr_rate or min_lr: add lr_scheduler_kwargs"),
        ("warmup_stable_decay", "needs num_decay_steps: add lr_scheduler_kwargs"),
    ],
)
def test_a_schedule_that_lacks_what_it_follows_is_refused(schedule, rule):
    with pytest.raises(ValueError, match=rule):
        refuse(lr_scheduler_type=schedule)


@pytest.mark.parametrize(
    "recipe",
    [
        {"lr_scheduler_type": "reduce_lr_on_plateau", "early_stopping_patience": 2},
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-6}},
        {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 9}},
        {"lr_scheduler_type": "linear"},
        {},
    ],
)
def test_any_other_is_not(recipe):
    refuse(**recipe)


def test_rows_and_the_tokens_before_them_need_positions():
    shape = replace(bert_shape(), positions=64)
    prompt = Architecture((Module("PROMPT_TUNING", {"num_virtual_tokens": 10}),))
    found = Configuration("main", prompt, {})
    refuse_too_long(found, shape, 54)
    refuse_too_long(found, bert_shape(), 60)  # no limit
    with pytest.raises(ValueError, match="got max_length 60 beside 10 virtual tokens: take 54 or"):
        refuse_too_long(found, shape, 60)
    plain = Configuration("main", Architecture(full_fine_tuning=True), {"max_length": 65})
    with pytest.raises(ValueError, match="positions for 64 tokens, got max_length 65: take 64 or"):
        refuse_too_long(plain, shape, 0)


@pytest.mark.parametrize(
    ("recipe", "rule"),
    [
        (
            {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"power": 2.0}},
            "cosine takes num_cycles as lr_scheduler_kwargs, got power",
        ),
        ({"lr_scheduler_kwargs": {"min_lr": 1e-6}}, "linear takes nothing as .*, got min_lr"),
        (
            {
                "lr_scheduler_type": "cosine_with_min_lr",
                "lr_scheduler_kwargs": {"min_lr": 1e-6, "min_lr_rate": 0.1},
            },
            "takes min_lr or min_lr_rate, got both",
        ),
        (
            {"lr_scheduler_type": "polynomial", "learning_rate": 1e-8},
            "ends below learning_rate, got lr_end 1e-07 and learning_rate 1e-08",
        ),
        (
            {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"lr_end": 1e-2}},
            "ends below learning_rate, got lr_end 0.01",
        ),
    ],
)
def test_a_schedule_with_arguments_that_it_fails_with_is_refused(recipe, rule):
    with pytest.raises(ValueError, match=rule):
        refuse(**recipe)


def test_the_arguments_of_schedules_are_those_of_transformers():
    optimization = pytest.importorskip("transformers.optimization")
    set_by_the_trainer = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    for kind, function in optimization.TYPE_TO_SCHEDULER_FUNCTION.items():
        if kind.value in _TAKING:
            taken = set(inspect.signature(function).parameters) - set_by_the_trainer
            assert set(_TAKING[kind.value]) == taken


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataloader_persistent_workers", True),
        ("dataloader_prefetch_factor", 2),
        ("dataloader_multiprocessing_context", "spawn"),
    ],
)
def test_what_only_workers_of_the_loader_have_needs_some(name, value):
    refuse(**{name: value, "dataloader_num_workers": 2})
    with pytest.raises(ValueError, match=f"{name} is that of the loader's workers"):
        refuse(**{name: value})


@pytest.mark.parametrize("recipe", [{"fsdp": "full_shard"}, {"parallelism_config": {"dp": 1}}])
def test_sharding_is_refused_in_one_process_too(recipe):
    with pytest.raises(ValueError, match="shards the model"):
        refuse(**recipe)


def test_rows_of_a_language_model_have_a_length_that_its_packing_can_keep():
    sft = "trl.SFTTrainer"
    refuse(sft, packing=True)
    refuse(sft, padding_free=True, max_length=None)
    refuse(sft, padding_free=True, packing=True)
    with pytest.raises(ValueError, match="packing fills rows up to max_length, got null"):
        refuse(sft, packing=True, max_length=None)
    with pytest.raises(ValueError, match="padding_free without packing does not cut"):
        refuse(sft, padding_free=True)


def test_rows_of_a_study_are_texts_that_the_trainer_prepares():
    refuse("trl.SFTTrainer", dataset_kwargs={"skip_prepare_dataset": False})
    with pytest.raises(RecipeError, match="skip_prepare_dataset trains on rows of tokens"):
        refuse("trl.SFTTrainer", dataset_kwargs={"skip_prepare_dataset": True})


def test_arguments_of_an_optimiser_are_names_and_values():
    refuse(optim_args="rank=8, scale=0.5")
    for given in ("foo", "rank=8,", "rank=8 scale=2"):
        with pytest.raises(RecipeError, match="optim_args takes name=value, name=value, got"):
            refuse(optim_args=given)


@pytest.mark.parametrize(
    ("field", "recipe"),
    [
        ("lr_scheduler_type", {"lr_scheduler_type": "greedy"}),
        ("lr_scheduler_type", {"lr_scheduler_type": "warmup_stable_decay"}),
        ("lr_scheduler_kwargs", {"lr_scheduler_kwargs": {"power": 2.0}}),
        ("learning_rate", {"lr_scheduler_type": "polynomial", "learning_rate": 1e-8}),
        ("dataloader_prefetch_factor", {"dataloader_prefetch_factor": 2}),
        ("fsdp", {"fsdp": "full_shard"}),
        ("optim_args", {"optim_args": "foo"}),
    ],
)
def test_a_refusal_names_the_field_that_is_wrong(field, recipe):
    with pytest.raises(RecipeError) as caught:
        refuse(**recipe)
    assert caught.value.field == field
