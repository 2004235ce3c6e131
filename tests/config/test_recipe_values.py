"""Values of a recipe with which every trial would fail, or do something else without a word."""

import copy

import pytest
from ruamel.yaml import YAML

from autopeft.config.spec import parse
from autopeft.domain.errors import SpecError
from autopeft.domain.methods.peft_fields import TRAINER_VALUES

DOCUMENT = YAML(typ="safe").load("""
autopeft: 1
study: values
model: {model_name_or_path: m, task_type: CAUSAL_LM}
data: {train: {path: json, data_files: a}, validation: {path: json, data_files: b}}
modules: [{peft_type: LORA, r: 2, target_modules: [q_proj]}]
objectives: [{metric: eval_loss}]
budget: {trials: 2}
""")


def parsed(**training):
    return parse({**copy.deepcopy(DOCUMENT), "training": training}, folder=".")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("adam_beta1", 1.0, "adam_beta1 is below 1, got 1.0"),
        ("adam_beta2", {"low": 0.9, "high": 1.5}, "adam_beta2 is below 1, got 1.5"),
        ("adam_epsilon", -1e-8, "adam_epsilon is at least 0"),
        ("dataloader_num_workers", -1, "dataloader_num_workers is at least 0"),
        ("dataloader_multiprocessing_context", "frok", "has no 'frok' .did you mean fork"),
        ("log_level", "foo", "log_level has no 'foo'"),
        ("log_level_replica", "warn", "log_level_replica has no 'warn'"),
        ("logging_strategy", "step", "logging_strategy has no 'step'"),
        ("loss_type", "dtf", "loss_type has no 'dtf'"),
        ("max_grad_norm", None, "max_grad_norm takes a number, got null"),
        ("max_length", 1, "max_length is at least 2, got 1"),
        ("neftune_noise_alpha", -5, "neftune_noise_alpha is at least 0"),
        ("packing_strategy", "bdf", "packing_strategy has no 'bdf'"),
        ("pad_to_multiple_of", 0, "pad_to_multiple_of is at least 1, got 0"),
        ("train_sampling_strategy", "group_by_len", "train_sampling_strategy has no"),
        ("truncation_mode", "keep", "truncation_mode has no 'keep'"),
    ],
)
def test_a_value_that_no_trial_can_train_with_is_refused(name, value, rule):
    with pytest.raises(SpecError, match=rule):
        parsed(**{name: value})


def test_what_trials_train_with_is_not():
    parsed(max_length=None, neftune_noise_alpha=None, max_grad_norm=0, adam_beta1=0.0)
    parsed(packing=True, packing_strategy="wrapped", loss_type="chunked_nll")
    parsed(pad_to_multiple_of="auto", log_level="passive")
    parsed(pad_to_multiple_of={"choice": [None, 8]}, log_level_replica="detail")


def test_the_levels_of_logs_are_those_of_transformers():
    arguments = pytest.importorskip("transformers.training_args")
    for name in ("log_level", "log_level_replica"):
        assert set(TRAINER_VALUES[name]) == set(arguments.trainer_log_levels)
