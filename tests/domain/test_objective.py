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


def test_a_share_lies_between_0_and_1():
    shares = [metric for metric in METRICS.values() if metric.unit == "share"]
    assert shares
    assert {(metric.low, metric.high) for metric in shares} == {(0.0, 1.0)}
