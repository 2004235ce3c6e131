"""Composites and tuners of our own in a trial: counted, trained, paused to the same bits, loaded."""

from functools import cache
from itertools import count

import pytest
from benches import make_bench

from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.trial import Failure, Result
from autopeft.training.inject import build
from autopeft.tuners.composite import is_composite

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
    """family -> a bench, made on demand."""
    folder = tmp_path_factory.mktemp("composites")
    return cache(lambda family: make_bench(folder / family, family, rows=32))


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_what_is_counted_is_what_is_trained_and_stored(bench, family, name):
    on = bench(family)
    configuration = on.configured(TREES[name], RECIPE)
    known = known_metrics(configuration.architecture, on.shape)
    model = build(on.base(), configuration, task_type="SEQ_CLS", total_steps=6, seed=0)
    assert (
        sum(p.numel() for p in model.parameters() if p.requires_grad) == known["trainable_params"]
    )
    trial = next(NUMBERS)
    assert isinstance(result := on.run(configuration, trial), Result), result
    stored = on.stored_adapter(trial)
    assert sum(t.numel() for t in stored.values()) == known["adapter_params"]
    assert sum(t.numel() * t.itemsize for t in stored.values()) == known["adapter_bytes"]


@pytest.mark.parametrize("name", ["autopeft", "everything", "two loras", "projected prefix"])
def test_a_pause_changes_no_bit(bench, name):
    on = bench("bert")
    on.check_pause(on.configured(TREES[name], RECIPE), next(NUMBERS), next(NUMBERS))


@pytest.mark.parametrize("name", ["autopeft", "everything", "two loras", "ssf", "svfit", "paca"])
def test_the_stored_folder_gives_the_outputs_that_were_measured(bench, name):
    on = bench("bert")
    trial = next(NUMBERS)
    result = on.run(on.configured(TREES[name], RECIPE), trial)
    model = on.reloaded(trial)
    assert is_composite(model) == (on.folder(trial) / "composite.json").exists()
    assert on.loss(model) == pytest.approx(result.metrics["eval_loss"], rel=1e-5)


def test_modules_that_wrap_the_same_layer_are_refused(bench):
    on = bench("bert")
    tree = {"modules": [LORA, {"peft_type": "IA3", "target_modules": "query"}]}
    failure = on.run(on.configured(tree, RECIPE), next(NUMBERS))
    assert isinstance(failure, Failure)
    assert "need targets of their own" in failure.message


def test_blocks_around_targets_of_each_other_are_refused(bench):
    on = bench("bert")
    crossed = (["attention", "feed_forward.down"], ["attention.query", "feed_forward"])
    sized = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 2}
    tree = {"modules": [{**sized, "target_modules": targets} for targets in crossed]}
    failure = on.run(on.configured(tree, RECIPE), next(NUMBERS))
    assert isinstance(failure, Failure)
    assert "give each block a module of its own" in failure.message
