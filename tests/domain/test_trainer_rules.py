"""Schedules that no trainer takes as they stand, and rows that are too long for a model."""

from dataclasses import replace

import pytest
from fakes import bert_shape

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.trainer_rules import refuse_too_long, refuse_untrainable


def refuse(**recipe):
    found = Configuration("main", Architecture(full_fine_tuning=True), recipe)
    refuse_untrainable(found, bert_shape(), "transformers.Trainer")


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
