"""Metrics that a trial measures because the file asks for them, on a tiny Llama that is trained."""

import json
from dataclasses import replace

import pytest
import torch
from fakes import study_spec
from tiny_models import chats, make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.study import Resources
from autopeft.domain.trial import Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.inject import build
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import load_base
from autopeft.training.loading.shapes import model_shape
from autopeft.training.measuring.asked import forward_ms, merged

LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"]}
SERIAL = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 4}
LOHA = {"peft_type": "LOHA", "r": 2, "target_modules": ["k_proj"]}
RECIPE = {"learning_rate": 3e-2, "per_device_train_batch_size": 4, "max_steps": 4}


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    make_model("llama", folder / "llama", "CAUSAL_LM")
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, chats(16))))
    general = [{"text": f"general words {i} about what comes"} for i in range(20)]
    (folder / "general.jsonl").write_text("\n".join(map(json.dumps, general)))
    files = {"path": "json", "data_files": "train.jsonl"}
    return replace(
        study_spec(name="asked"),
        model={"model_name_or_path": "llama", "task_type": "CAUSAL_LM"},
        trainer="trl.SFTTrainer",
        data={
            "train": files,
            "validation": files,
            "general": {"path": "json", "data_files": "general.jsonl"},
            "limit": {"general": 12},
        },
        training={},
        objectives=(Objective("eval_loss", "minimize"), Objective("forgetting", "minimize")),
        constraints=(
            Constraint.parse("inference_ms <= 1e6"),
            Constraint.parse("inference_merged_ms <= 1e6"),
        ),
        resources=Resources(cpus_per_trial=2, price_per_hour=3.0),
        folder=str(folder),
    )


@pytest.fixture(scope="module")
def shape(spec):
    return model_shape(spec.model, folder=spec.folder, num_labels=1)


def configured(shape, *modules, **recipe):
    tree = {"modules": list(modules)}
    training = {**RECIPE, **recipe}
    return canonical(tree, branch="b", shape=shape, training=training, defaults=PEFT_DEFAULTS)


def run(spec, shape, home, *modules, **recipe):
    segment = Segment("asked", 0, configured(shape, *modules, **recipe), 0, 0, Stop(), False, True)
    return TrialEvaluator(spec, home).run(segment, lambda step, metrics: None)


def test_all_that_is_asked_for_is_measured(spec, shape, tmp_path):
    result = run(spec, shape, tmp_path, LORA)
    assert isinstance(result, Result), result
    found = result.metrics
    assert found["inference_ms"] > 0
    assert found["inference_merged_ms"] > 0
    assert found["forgetting"] != 0
    assert found["gpu_hours"] == pytest.approx(found["train_seconds"] * 2 / 3600)
    assert found["cost"] == pytest.approx(3 * found["gpu_hours"])
    per_step = found["tokens_per_second"] * found["step_ms"] / 1000
    assert 4 * 5 < per_step < 4 * 64  # four rows a step


def test_a_step_has_no_more_tokens_than_the_data(spec, shape, tmp_path):
    rows = len(load_data(spec.data, folder=spec.folder, task=spec.task).train)
    found = run(spec, shape, tmp_path, LORA, per_device_train_batch_size=16 * rows).metrics
    assert 5 * rows < found["tokens_per_second"] * found["step_ms"] / 1000 < 64 * rows


def test_who_learns_nothing_forgets_nothing(spec, shape, tmp_path):
    result = run(spec, shape, tmp_path, LORA, learning_rate=0.0)
    assert result.metrics["forgetting"] == pytest.approx(0, abs=1e-6)


def test_what_nobody_asks_for_is_not_measured(spec, shape, tmp_path):
    spec = replace(spec, objectives=(Objective("eval_loss", "minimize"),), constraints=())
    spec = replace(spec, resources=Resources(), data={**spec.data})
    found = run(spec, shape, tmp_path, LORA).metrics
    assert not {"inference_ms", "inference_merged_ms", "forgetting", "cost"} & set(found)


def test_what_cannot_be_merged_is_measured_as_it_is_served(spec, shape, tmp_path):
    result = run(spec, shape, tmp_path, SERIAL)
    assert isinstance(result, Result), result
    assert result.metrics["inference_merged_ms"] > 0


@pytest.mark.parametrize("modules", [(LORA,), (LORA, LOHA)])
def test_a_merged_copy_computes_the_same_without_adapters(spec, shape, modules):
    base = load_base(spec.model, folder=spec.folder, labels=(), head=())
    configuration = configured(shape, *modules)
    model = build(base, configuration, task_type="CAUSAL_LM", total_steps=4, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    plain = merged(model)
    row = {"input_ids": torch.tensor([[1, 5, 9, 2]])}
    model.eval()
    plain.eval()
    with torch.no_grad():
        assert torch.allclose(model(**row).logits, plain(**row).logits, atol=1e-5)
    assert not any("lora" in name or "hada" in name for name, _ in plain.named_modules())
    assert any(parameter.requires_grad for parameter in model.parameters())


def test_the_latency_is_that_of_the_slower_model():
    class Slow(torch.nn.Module):
        def __init__(self, passes):
            super().__init__()
            self.passes = passes

        def forward(self, x):
            for _ in range(self.passes):
                x = x @ x
            return x

    row = {"x": torch.eye(64)}
    cpu = torch.device("cpu")
    assert forward_ms(Slow(400), row, cpu) > 3 * forward_ms(Slow(1), row, cpu)
