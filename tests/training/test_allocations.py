"""Allocation strategies in a trial: what they record, spend and store, on real training."""

import pytest
from benches import make_bench

from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.trial import Failure, Result

RECIPE = {"learning_rate": 1e-2, "per_device_train_batch_size": 2, "num_train_epochs": 1}
LORA = {"peft_type": "LORA", "r": 2, "target_modules": ["attention.query", "feed_forward.up"]}
EVEN = LORA | {"target_modules": "attention.query"}
SERIAL = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 4}


@pytest.fixture(scope="module", params=["bert", "llama"])
def bench(request, tmp_path_factory):
    """24 steps an epoch."""
    return make_bench(tmp_path_factory.mktemp(request.param), request.param, rows=64)


def run(bench, allocation, *modules, trial=0):
    """(result, curve, known metrics, stored tensors)."""
    tree = {"modules": list(modules), "allocation": allocation}
    configuration = bench.configured(tree, RECIPE)
    curve = []
    result = bench.run(configuration, trial, report=lambda *point: curve.append(point))
    known = known_metrics(configuration.architecture, bench.shape)
    return result, curve, known, bench.stored_adapter(trial)


@pytest.mark.parametrize(
    "allocation", ["spt", "random", "eva", "increlora", "adalora"], ids=lambda value: value
)
def test_ranks_are_recorded_and_spend_exactly_their_budget(bench, allocation):
    result, curve, known, stored = run(bench, allocation, EVEN)
    assert isinstance(result, Result), result
    ranks = result.provenance["ranks"]
    layers = bench.shape.layers
    assert len(ranks) == layers
    assert sum(ranks.values()) == 2 * layers
    assert curve[-1][1]["rank_sum"] == 2 * layers
    # Equal shapes: the most that the budget can hold is what it holds.
    assert sum(tensor.numel() for tensor in stored.values()) == known["adapter_params"]


@pytest.mark.parametrize("allocation", ["spt", "random", "increlora"])
def test_on_unequal_shapes_no_more_is_stored_than_was_counted(bench, allocation):
    result, _, known, stored = run(bench, allocation, LORA)
    assert isinstance(result, Result), result
    assert sum(tensor.numel() for tensor in stored.values()) <= known["adapter_params"]


def test_ranks_that_grow_are_seen_to_grow(bench):
    _, curve, _, _ = run(bench, "increlora", LORA)
    sums = [metrics["rank_sum"] for _, metrics in curve if "rank_sum" in metrics]
    assert sums == sorted(sums)
    assert sums[0] < sums[-1]


def test_the_scores_of_ist_are_a_curve_and_a_record(bench):
    result, curve, _, _ = run(bench, "ist", LORA)
    scores = result.provenance["layer_scores"]
    assert set(scores) == {str(layer) for layer in range(bench.shape.layers)}
    assert any(scores.values())
    assert curve[-1][1][f"layer_score/{bench.shape.layers - 1}"] in scores.values()


@pytest.mark.parametrize("allocation", ["ist", "lisa", "owlore"])
def test_what_samples_layers_takes_a_composite(bench, allocation):
    result, _, known, stored = run(bench, allocation, LORA, SERIAL)
    assert isinstance(result, Result), result
    assert sum(tensor.numel() for tensor in stored.values()) == known["adapter_params"]


def test_rows_too_few_for_eva_are_a_failure_that_says_so(bench):
    result, *_ = run(bench, {"eva": {"rho": 12.0}}, EVEN | {"r": 3})
    assert isinstance(result, Failure)
    assert "components need as many tokens and features" in result.message
