"""Instruction tuning with TRL's own trainer, on a tiny Llama and `messages`."""

import json
from dataclasses import replace

import pytest
from fakes import study_spec
from safetensors.torch import load_file
from tiny_models import chats, make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.shapes import model_shape

RECIPE = {
    "learning_rate": 5e-3,
    "per_device_train_batch_size": 4,
    "num_train_epochs": 2,
    "max_length": 48,
}
LORA = {
    "peft_type": "LORA",
    "r": 4,
    "lora_dropout": 0.1,
    "target_modules": ["q_proj", "v_proj", "down_proj"],
}
FULL = {"modules": [], "full_fine_tuning": True}


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    make_model("llama", folder / "llama", "CAUSAL_LM")
    rows = chats(32)
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows[:24])))
    (folder / "validation.jsonl").write_text("\n".join(map(json.dumps, rows[24:])))
    return replace(
        study_spec(name="sft"),
        model={"model_name_or_path": "llama", "task_type": "CAUSAL_LM"},
        trainer="trl.SFTTrainer",
        data={
            "train": {"path": "json", "data_files": "train.jsonl"},
            "validation": {"path": "json", "data_files": "validation.jsonl"},
        },
        training={},
        folder=str(folder),
    )


@pytest.fixture(scope="module")
def shape(spec):
    return model_shape(spec.model, folder=spec.folder, num_labels=1)


def segment(
    shape, module, *, stop=None, rung=0, last=True, trial=0, allocation="uniform", **recipe
):
    tree = {"modules": [module], "allocation": allocation} if module else FULL
    configuration = canonical(
        tree,
        branch="b",
        shape=shape,
        training={**RECIPE, **recipe},
        defaults=PEFT_DEFAULTS,
    )
    return Segment("sft", trial, configuration, 0, rung, stop or Stop(), rung > 0, last)


def no_report(step, metrics):
    pass


def weights(home, trial=0):
    return load_file(home / "sft" / "adapters" / f"trial-{trial}" / "adapter_model.safetensors")


@pytest.mark.parametrize("allocation", ["uniform", "adalora"])
def test_messages_train_and_a_pause_changes_no_bit(spec, shape, tmp_path, allocation):
    evaluator = TrialEvaluator(spec, tmp_path)
    whole = evaluator.run(segment(shape, LORA, allocation=allocation), no_report)
    assert isinstance(whole, Result), whole
    for rung, stop in enumerate([Stop(steps=2), Stop(epochs=1), Stop()]):
        work = segment(
            shape, LORA, stop=stop, rung=rung, last=rung == 2, trial=1, allocation=allocation
        )
        result = evaluator.run(work, no_report)
        assert isinstance(result, Result), result
    assert result.metrics["eval_loss"] == whole.metrics["eval_loss"]
    assert result.stderr["eval_loss"] > 0
    assert result.step == whole.step == 12
    once, paused = weights(tmp_path, 0), weights(tmp_path, 1)
    assert set(once) == set(paused)
    assert all((once[name] == paused[name]).all() for name in once)


def test_full_fine_tuning_learns_and_its_pause_changes_no_bit(spec, shape, tmp_path):
    evaluator = TrialEvaluator(spec, tmp_path)
    short = evaluator.run(segment(shape, None, max_steps=1), no_report)
    whole = evaluator.run(segment(shape, None, num_train_epochs=8, trial=1), no_report)
    assert whole.metrics["eval_loss"] < 0.7 * short.metrics["eval_loss"]
    for rung, stop in enumerate([Stop(epochs=3), Stop()]):
        work = segment(
            shape, None, stop=stop, rung=rung, last=rung == 1, trial=2, num_train_epochs=8
        )
        result = evaluator.run(work, no_report)
    assert result.metrics["eval_loss"] == whole.metrics["eval_loss"]
    assert (tmp_path / "sft" / "adapters" / "trial-2" / "model.safetensors").exists()


def test_a_prefix_under_gradient_checkpointing_is_unfit(spec, shape, tmp_path):
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}
    evaluator = TrialEvaluator(spec, tmp_path)
    failure = evaluator.run(segment(shape, prefix), no_report)
    assert isinstance(failure, Failure)
    assert failure.reason is FailureReason.UNFIT
    assert "gradient_checkpointing: false" in failure.message
    result = evaluator.run(segment(shape, prefix, gradient_checkpointing=False), no_report)
    assert isinstance(result, Result), result


def test_a_prompt_takes_gradient_checkpointing(spec, shape, tmp_path):
    prompt = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}
    found = [
        TrialEvaluator(spec, tmp_path).run(
            segment(shape, prompt, trial=trial, gradient_checkpointing=trial == 1), no_report
        )
        for trial in (0, 1)
    ]
    assert all(isinstance(result, Result) for result in found), found
    plain, checkpointed = (result.metrics["eval_loss"] for result in found)
    assert checkpointed == pytest.approx(plain, rel=1e-5)


def test_packing_under_adalora_is_unfit_as_the_schedule_would_miss_its_budget(
    spec, shape, tmp_path
):
    work = segment(shape, LORA, allocation="adalora", packing=True, max_length=128)
    failure = TrialEvaluator(spec, tmp_path).run(work, no_report)
    assert isinstance(failure, Failure), failure
    assert failure.reason is FailureReason.UNFIT
    assert "the allocation's schedule counts on 12 steps, the trainer does" in failure.message


def test_the_test_split_is_measured_where_a_segment_asks_for_it(spec, shape, tmp_path):
    data = {**spec.data, "test": {"carve": 0.25, "from": "train", "seed": 0}}
    worker = TrialEvaluator(replace(spec, data=data), tmp_path)
    plain = worker.run(segment(shape, LORA), no_report)
    asked = worker.run(replace(segment(shape, LORA, trial=1), test=True), no_report)
    assert plain.test == {}
    assert set(asked.test) == set(asked.test_stderr) == {"eval_loss", "perplexity"}
    assert asked.test["eval_loss"] != asked.metrics["eval_loss"] == plain.metrics["eval_loss"]
