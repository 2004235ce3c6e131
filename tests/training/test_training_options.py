"""What of the trainers' own options runs on a CPU, and what a trial without a GPU refuses."""

from dataclasses import replace

import pytest
from fakes import study_spec
from task_data import write_task
from torch._dynamo.utils import counters

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.shapes import model_shape

LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}
RECIPE = {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "num_train_epochs": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train one trial with more fields in its recipe."""
    folder = tmp_path_factory.mktemp("options")
    spec = replace(
        study_spec(name="o"), folder=str(folder), training={}, **write_task(folder, "SEQ_CLS")
    )
    shape = model_shape(spec.model, folder=str(folder), num_labels=2)
    evaluator = TrialEvaluator(spec, folder / "home")

    def of(**fields):
        configuration = canonical(
            {"modules": [LORA]},
            branch="b",
            shape=shape,
            training=RECIPE | fields,
            defaults=PEFT_DEFAULTS,
        )
        work = Segment("o", 0, configuration, 0, 0, Stop(), False, True)
        return evaluator.run(work, lambda step, metrics: None)

    return of


@pytest.fixture(scope="module")
def plain(run):
    found = run()
    assert isinstance(found, Result), found
    return found


@pytest.mark.parametrize(
    ("fields", "rel"),
    [
        ({"bf16": True}, 0.02),
        ({"gradient_checkpointing": True}, 1e-6),
        ({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}, 1e-4),
    ],
    ids=["bf16", "checkpointing", "accumulation"],
)
def test_an_option_that_changes_how_and_not_what_is_computed(run, plain, fields, rel):
    found = run(**fields)
    assert isinstance(found, Result), found
    assert found.step == plain.step
    assert found.metrics["eval_loss"] == pytest.approx(plain.metrics["eval_loss"], rel=rel)
    exactly = found.metrics["eval_loss"] == plain.metrics["eval_loss"]
    assert not exactly or "gradient_checkpointing" in fields  # the others have to be seen


def test_a_compiled_model_trains_to_the_same_bits_where_the_kernels_are_the_same(run):
    """The backend `eager` runs what was traced with torch's own kernels."""
    counters["frames"].clear()
    compiled = run(torch_compile=True, torch_compile_backend="eager", max_steps=1)
    assert isinstance(compiled, Result), compiled
    assert counters["frames"]["ok"] > 0
    traced = counters["frames"]["ok"]
    found = run(max_steps=1)
    assert counters["frames"]["ok"] == traced
    assert found.metrics["eval_loss"] == compiled.metrics["eval_loss"]


def test_every_row_is_measured_whatever_training_drops(run):
    """A batch of 64 rows is not full: with it none would be measured."""
    found = [
        run(max_steps=1, per_device_eval_batch_size=64, **drops)
        for drops in ({}, {"dataloader_drop_last": True})
    ]
    assert all(isinstance(one, Result) for one in found), found
    assert found[0].metrics["eval_loss"] == found[1].metrics["eval_loss"]


def test_a_batch_that_no_rows_fill_is_unfit(run):
    failure = run(dataloader_drop_last=True, per_device_train_batch_size=1024)
    assert isinstance(failure, Failure), failure
    assert failure.reason is FailureReason.UNFIT
    assert "rows fill none of 1024: lower per_device_train_batch_size" in failure.message


def test_tf32_without_a_gpu_that_has_it_is_unfit(run, monkeypatch):
    monkeypatch.setattr("autopeft.training.assembly.is_torch_tf32_available", lambda: False)
    failure = run(tf32=True)
    assert isinstance(failure, Failure), failure
    assert failure.reason is FailureReason.UNFIT
    assert failure.message == "tf32 needs a GPU of NVIDIA's Ampere or newer: remove it"


def test_fp16_without_a_gpu_is_unfit_and_says_what_to_take(run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    failure = run(fp16=True)
    assert isinstance(failure, Failure), failure
    assert failure.reason is FailureReason.UNFIT
    assert failure.message == (
        "fp16 needs a GPU, and this worker has none: take bf16: true, or neither"
    )
