"""The front as JSON."""

import json
from dataclasses import replace

from explored import explored_spec, explored_trials

from autopeft.domain.architecture import Configuration
from autopeft.domain.results.front import front
from autopeft.report.front import front_json


def test_json_holds_the_front_in_order_with_whole_configurations() -> None:
    spec, trials = explored_spec(), explored_trials()
    members = [trial.number for trial in front(spec.objectives, spec.constraints, trials)]
    document = json.loads(front_json(spec.objectives, trials, members))
    assert [row["trial"] for row in document["front"]] == members
    first = document["front"][0]
    expected = trials[members[0]]
    assert first["metrics"] == expected.metrics
    assert Configuration.from_document(first["configuration"]) == expected.configuration
    assert document["objectives"][1] == {
        "metric": "adapter_params",
        "goal": "minimize",
        "scale": "log",
        "unit": "parameters",
    }


def test_json_has_null_for_what_is_not_finite() -> None:
    spec, trials = explored_spec(), explored_trials()
    rung = replace(trials[0].rungs[-1], metrics={"accuracy": 0.5, "step_ms": float("nan")})
    trial = replace(trials[0], rungs=(rung,))
    rows = json.loads(front_json(spec.objectives, [trial], [0]))["front"]
    assert rows[0]["metrics"]["step_ms"] is None


def test_seeds_of_one_configuration_are_one_row_at_their_mean() -> None:
    spec, trials = explored_spec(), explored_trials()
    first = next(t for t in trials if t.configuration == trials[-1].configuration)
    other = replace(trials[-1].rungs[-1], metrics={**first.metrics, "accuracy": 0.9})
    trials[-1] = replace(trials[-1], rungs=(other,))
    (row,) = json.loads(front_json(spec.objectives, trials, [first.number]))["front"]
    assert row["seeds"] == 2
    assert row["metrics"]["accuracy"] == (first.metrics["accuracy"] + 0.9) / 2
