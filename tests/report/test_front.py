"""The picture of the front, and its JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.objective import Objective
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial
from autopeft.report.front import axes, front_figure, front_json, staircase

ACCURACY = Objective("accuracy", "maximize")
LOSS = Objective("eval_loss", "minimize")
PARAMS = Objective("adapter_params", "minimize", "log")
MEMORY = Objective("peak_memory_gib", "minimize")


def trial(
    number: int,
    params: float,
    metrics: Mapping[str, float] | None = None,
    *,
    state: State = State.COMPLETED,
    stderr: Mapping[str, float] | None = None,
    branch: str = "lora",
    **more: Any,
) -> Trial:
    lora = Module("LORA", {"r": 4}, ("bert.encoder.layer.0.attention.self.query",), (number % 12,))
    rungs = () if metrics is None else (Rung(0, 10, metrics, stderr or {}, 3.0),)
    return Trial(
        number=number,
        configuration=Configuration(branch, Architecture((lora,)), {"learning_rate": 1e-3}),
        seed=0,
        point={},
        known={"adapter_params": params},
        state=state,
        rungs=rungs,
        **more,
    )


def study() -> list[Trial]:
    return [
        trial(0, 9000, {"accuracy": 0.80}, baseline=True, branch="house"),
        trial(1, 1000, {"accuracy": 0.70}, stderr={"accuracy": 0.01}),
        trial(2, 4000, {"accuracy": 0.85}, stderr={"accuracy": 0.01}),
        trial(3, 5000, {"accuracy": 0.75}),
        trial(4, 2000, {"accuracy": 0.60}, state=State.PAUSED),
        trial(5, 2000, state=State.FAILED, failure=Failure(FailureReason.OUT_OF_MEMORY, "too big")),
        trial(6, 3000, state=State.RUNNING),
    ]


def traces(page: str) -> dict[str, Any]:
    """The data that the page hands to plotly, by the name of the trace."""
    found = re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*?\]),\s*\{", page, re.DOTALL)
    assert found is not None
    return {t.get("name", "line").split(" (")[0]: t for t in json.loads(found.group(1))}


def test_every_kind_of_trial_has_its_own_trace() -> None:
    shown = traces(front_figure([ACCURACY, PARAMS], study(), [1, 2]))
    assert list(shown) == ["line", "stopped early", "dominated", "baseline", "front"]
    assert shown["stopped early"]["marker"]["symbol"] == "circle-open"
    assert shown["baseline"]["marker"]["symbol"] == "diamond"
    assert shown["line"]["line"]["shape"] == "hv"
    assert shown["front"]["name"] == "front (2)"


def test_a_baseline_on_the_front_stays_a_diamond_and_is_ringed() -> None:
    page = front_figure([ACCURACY, PARAMS], study(), [0, 1])
    assert "2 on the front (1 of them baselines, ringed)" in page
    assert traces(page)["baseline"]["marker"]["line"]["width"] == [2]


def test_hover_names_configuration_value_interval_and_unit() -> None:
    text = traces(front_figure([ACCURACY, PARAMS], study(), [1, 2]))["front"]["text"][0]
    assert "#1 lora r4 q L1 lr 1e-3" in text
    assert "accuracy: 0.7 ± 0.02 share" in text
    assert "adapter_params: 1,000 parameters" in text


def test_log_objectives_get_log_axes_and_titles_with_units() -> None:
    page = front_figure([ACCURACY, PARAMS], study(), [1, 2])
    assert '"type":"log"' in page
    assert "adapter_params [parameters], less is better" in page
    assert "accuracy [share], more is better" in page


def test_trials_without_a_result_are_counted_and_not_drawn() -> None:
    page = front_figure([ACCURACY, PARAMS], study(), [1, 2])
    assert "7 trials · 2 on the front · 1 failed · 1 without a result yet" in page


def test_the_page_needs_no_network() -> None:
    page = front_figure([ACCURACY, PARAMS], study(), [1, 2])
    assert not re.search(r"<(script|link|img)[^>]*\s(src|href)=", page)
    assert len(page) > 1_000_000


def test_no_button_sends_the_data_elsewhere() -> None:
    assert '"showSendToCloud": false' in front_figure([ACCURACY, PARAMS], study(), [1, 2])


def test_what_users_write_is_escaped() -> None:
    evil = "</script><script>alert(1)</script>"
    named = [trial(0, 10, {"accuracy": 0.5}, branch=evil, why=evil)]
    page = front_figure([ACCURACY, PARAMS], named, [0], title=evil)
    assert "alert(1)</script>" not in page
    assert "<title>&lt;/script&gt;" in page


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ([ACCURACY, PARAMS], (PARAMS, ACCURACY)),
        ([PARAMS, ACCURACY], (PARAMS, ACCURACY)),
        ([ACCURACY, MEMORY, PARAMS], (PARAMS, ACCURACY)),
        ([ACCURACY, MEMORY], (MEMORY, ACCURACY)),
        ([ACCURACY], (None, ACCURACY)),
    ],
)
def test_quality_goes_up_and_cost_to_the_right(objectives: Any, expected: Any) -> None:
    assert axes(objectives) == expected


def test_the_line_keeps_to_trials_that_nothing_beats_in_the_plane() -> None:
    trials = [trial(n, p, {"accuracy": a}) for n, p, a in [(0, 1, 0.5), (1, 2, 0.4), (2, 3, 0.7)]]
    assert staircase(PARAMS, ACCURACY, trials) == [(1.0, 0.5), (3.0, 0.7)]
    losses = [trial(n, p, {"eval_loss": v}) for n, p, v in [(0, 1, 0.5), (1, 2, 0.6), (2, 3, 0.3)]]
    assert staircase(PARAMS, LOSS, losses) == [(1.0, 0.5), (3.0, 0.3)]


def test_a_frozen_backbone_stands_at_one_parameter() -> None:
    trials = [trial(0, 0, {"accuracy": 0.5}), trial(1, 100, {"accuracy": 0.6})]
    assert staircase(PARAMS, ACCURACY, trials) == [(1.0, 0.5), (100.0, 0.6)]


def test_a_study_without_results_still_gives_a_page() -> None:
    page = front_figure([ACCURACY, PARAMS], [trial(0, 10, state=State.RUNNING)], [])
    assert "1 trial · 0 on the front · 1 without a result yet" in page


def test_one_objective_is_drawn_by_trial() -> None:
    page = front_figure([ACCURACY], study(), [2])
    assert traces(page)["front"]["y"] == [0.85]


def test_json_holds_the_front_in_order_with_whole_configurations() -> None:
    document = json.loads(front_json([ACCURACY, PARAMS], study(), [2, 1]))
    assert [row["trial"] for row in document["front"]] == [2, 1]
    row = document["front"][0]
    assert row["metrics"] == {"adapter_params": 4000, "accuracy": 0.85}
    assert Configuration.from_document(row["configuration"]) == study()[2].configuration
    assert document["objectives"][1] == {
        "metric": "adapter_params",
        "goal": "minimize",
        "scale": "log",
        "unit": "parameters",
    }


def test_json_has_null_for_what_is_not_finite() -> None:
    trials = [trial(0, 10, {"accuracy": 0.5, "step_ms": float("nan")})]
    assert json.loads(front_json([ACCURACY], trials, [0]))["front"][0]["metrics"]["step_ms"] is None


def test_seeds_of_one_configuration_are_one_point_at_their_mean() -> None:
    again = replace(
        trial(7, 4000, {"accuracy": 0.75}, stderr={"accuracy": 0.01}),
        configuration=study()[2].configuration,
        seed=1,
    )
    page = front_figure([ACCURACY, PARAMS], [*study(), again], [1, 2])
    drawn = traces(page)["front"]
    assert 0.80 in [round(y, 9) for y in drawn["y"]]
    assert any("2 seeds" in text for text in drawn["text"])
    assert "(2 seeds)</td>" in page
    assert "8 trials" in page
    assert "1 of them another seed of one" in page
    rows = json.loads(front_json([ACCURACY, PARAMS], [*study(), again], [1, 2]))["front"]
    assert [row["seeds"] for row in rows] == [1, 2]
    assert rows[1]["metrics"]["accuracy"] == pytest.approx(0.80)
