"""Composites and tuners of our own in a trial: counted, trained, paused to the same bits, loaded."""

import copy
import json
from dataclasses import replace
from itertools import count

import pytest
import torch
from fakes import study_spec
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.counting import known_metrics
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Failure, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.inject import build
from autopeft.training.model import load_base, model_shape
from autopeft.tuners.composite import is_composite, load_composite

RECIPE = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "num_train_epochs": 1}
SERIAL = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 3}
PARALLEL = {"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": 5}
PREFIX = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}
LORA = {"peft_type": "LORA", "r": 2, "target_modules": "attention.query", "lora_dropout": 0.1}
IA3 = {"peft_type": "IA3", "target_modules": ["attention.value", "feed_forward.down"]}
TREES = {
    "autopeft": {"modules": [SERIAL, PARALLEL, PREFIX], "layers": [0, 2]},
    "everything": {"modules": [LORA, IA3, SERIAL, PARALLEL, PREFIX | {"layers": {"last": 1}}]},
    "two loras": {"modules": [LORA, LORA | {"r": 4, "target_modules": "feed_forward.up"}]},
    "compacter": {"modules": [SERIAL | {"phm_dim": 4, "bottleneck_size": 8}]},
    "prefix in a layer": {"modules": [PREFIX], "layers": {"first": 1}},
    "projected prefix": {
        "modules": [PREFIX | {"prefix_projection": True, "encoder_hidden_size": 6}, SERIAL]
    },
    "houlsby": {
        "modules": [SERIAL | {"target_modules": ["attention.output", "feed_forward.down"]}]
    },
    "ssf": {"modules": [{"peft_type": "SSF", "target_modules": ["all-linear", "norm"]}]},
    "svfit": {"modules": [{"peft_type": "SVFIT", "r": 4, "target_modules": "all-linear"}]},
    "paca": {"modules": [{"peft_type": "PACA", "r": 4, "target_modules": "attention.query"}]},
}
NUMBERS = count()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """family -> (spec, evaluator, shape, home), made on demand."""
    folder = tmp_path_factory.mktemp("composites")
    rows = [{"text": f"after {i % 9} comes {i % 7}", "label": i % 2} for i in range(32)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = {}

    def on(family):
        if family not in made:
            make_model(family, folder / family, "SEQ_CLS")
            spec = replace(
                study_spec(name="composites"),
                model={"model_name_or_path": family, "task_type": "SEQ_CLS"},
                data={
                    "train": {"path": "json", "data_files": "train.jsonl"},
                    "validation": {"carve": 0.25, "from": "train", "seed": 0},
                },
                training={},
                folder=str(folder),
            )
            shape = model_shape(spec.model, folder=spec.folder, num_labels=2)
            home = folder / f"home-{family}"
            made[family] = spec, TrialEvaluator(spec, home), shape, home
        return made[family]

    return on


def configured(shape, name):
    return canonical(TREES[name], branch="b", shape=shape, training=RECIPE, defaults=PEFT_DEFAULTS)


def run(evaluator, configuration, trial, *, stop=None, rung=0, last=True):
    segment = Segment("composites", trial, configuration, 0, rung, stop or Stop(), rung > 0, last)
    return evaluator.run(segment, lambda step, metrics: None)


def tensors(home, trial):
    folder = home / "composites" / "adapters" / f"trial-{trial}"
    return {
        f"{path.relative_to(folder)}:{name}": tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_what_is_counted_is_what_is_trained_and_stored(bench, family, name):
    spec, evaluator, shape, home = bench(family)
    configuration = configured(shape, name)
    known = known_metrics(configuration.architecture, shape)
    base = load_base(spec.model, folder=spec.folder, labels=("no", "yes"), head=shape.head)
    model = build(base, configuration, task_type="SEQ_CLS", total_steps=6, seed=0)
    assert (
        sum(p.numel() for p in model.parameters() if p.requires_grad) == known["trainable_params"]
    )
    trial = next(NUMBERS)
    assert isinstance(result := run(evaluator, configuration, trial), Result), result
    stored = {k: v for k, v in tensors(home, trial).items() if not is_head(k, shape.head)}
    assert sum(t.numel() for t in stored.values()) == known["adapter_params"]
    assert sum(t.numel() * t.itemsize for t in stored.values()) == known["adapter_bytes"]


def is_head(key, head):
    name = key.partition(":")[2]
    return any(part in name.split(".") for part in head)


@pytest.mark.parametrize("name", ["autopeft", "everything", "two loras", "projected prefix"])
def test_a_pause_changes_no_bit(bench, name):
    _, evaluator, shape, home = bench("bert")
    configuration = configured(shape, name)
    whole, paused = next(NUMBERS), next(NUMBERS)
    result = run(evaluator, configuration, whole)
    run(evaluator, configuration, paused, stop=Stop(steps=3), last=False)
    resumed = run(evaluator, configuration, paused, rung=1)
    assert resumed.provenance["resumed"]
    assert resumed.metrics["eval_loss"] == result.metrics["eval_loss"]
    once, again = tensors(home, whole), tensors(home, paused)
    assert set(once) == set(again)
    assert all((once[key] == again[key]).all() for key in once)


@pytest.mark.parametrize("name", ["autopeft", "everything", "two loras", "ssf", "svfit", "paca"])
def test_the_stored_folder_gives_the_outputs_that_were_measured(bench, name):
    spec, evaluator, shape, home = bench("bert")
    trial = next(NUMBERS)
    result = run(evaluator, configured(shape, name), trial)
    base = load_base(spec.model, folder=spec.folder, labels=("no", "yes"), head=shape.head)
    folder = home / "composites" / "adapters" / f"trial-{trial}"
    plain = copy.deepcopy(base.model)
    if (folder / "composite.json").exists():
        model = load_composite(plain, folder)
        assert is_composite(model)
    else:
        model = PeftModel.from_pretrained(plain, folder)
    rows = evaluator._bench.validation
    with torch.no_grad():
        logits = [
            model.eval()(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows
        ]
    losses = torch.nn.functional.cross_entropy(torch.stack(logits), torch.tensor(rows["labels"]))
    assert losses.item() == pytest.approx(result.metrics["eval_loss"], rel=1e-5)


def test_modules_that_wrap_the_same_layer_are_refused(bench):
    _, evaluator, shape, _ = bench("bert")
    tree = {"modules": [LORA, {"peft_type": "IA3", "target_modules": "query"}]}
    configuration = canonical(
        tree, branch="b", shape=shape, training=RECIPE, defaults=PEFT_DEFAULTS
    )
    failure = run(evaluator, configuration, next(NUMBERS))
    assert isinstance(failure, Failure)
    assert "need targets of their own" in failure.message
