"""Schedules that no trainer takes as they stand."""

import pytest
from fakes import bert_shape

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.trainer_rules import refuse_untrainable


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
