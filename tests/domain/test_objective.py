"""The metrics that autopeft knows, and what bounds their scores."""

import math

import pytest

from autopeft.domain.objective import METRICS, Objective


@pytest.mark.parametrize(
    ("objective", "highest"),
    [
        (Objective("f1_micro", "maximize"), 1.0),
        (Objective("pearson", "maximize"), 1.0),
        (Objective("accuracy", "maximize", "log"), 0.0),
        (Objective("accuracy", "minimize"), 0.0),
        (Objective("mae", "minimize"), 0.0),
        (Objective("perplexity", "minimize", "log"), 0.0),
        (Objective("eval_loss", "minimize", "log"), math.inf),
        (Objective("forgetting", "minimize"), math.inf),
        (Objective("tokens_per_second", "maximize"), math.inf),
        (Objective("beauty", "maximize"), math.inf),
        (Objective("accuracy", "maximize", own=True), math.inf),  # it may be in per cent
    ],
)
def test_a_score_is_bounded_where_its_metric_is(objective, highest):
    assert objective.highest == highest


@pytest.mark.parametrize(
    ("objective", "worse", "better"),
    [
        (Objective("peak_memory_gib", "minimize", "log"), 0.05, 0.0),
        (Objective("exact_match", "maximize", "log"), 0.0, 0.05),
        (Objective("beauty", "maximize", "log"), 0.0, 0.05),
        (Objective("adapter_params", "minimize", "log"), 2.0, 0.0),
    ],
)
def test_nothing_on_a_log_scale_is_at_its_end(objective, worse, better):
    assert objective.transform(worse) < objective.transform(better)
    assert math.isfinite(objective.deviation(0.0, 0.01))


def test_a_frozen_backbone_counts_as_one_parameter():
    assert Objective("adapter_params", "minimize", "log").transform(0.0) == 0.0


def test_an_error_is_relative_on_a_log_scale():
    assert Objective("eval_loss", "minimize", "log").deviation(0.5, 0.02) == pytest.approx(0.04)
    assert Objective("eval_loss", "minimize").deviation(0.5, 0.02) == 0.02


def test_a_share_lies_between_0_and_1():
    shares = [metric for metric in METRICS.values() if metric.unit == "share"]
    assert shares
    assert {(metric.low, metric.high) for metric in shares} == {(0.0, 1.0)}
