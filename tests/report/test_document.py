"""The document of the explorer."""

import json
from dataclasses import replace

import pytest
from explored import explored_document, explored_spec, explored_trials, hostile, with_maps

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.objective import Objective
from autopeft.domain.ports import StudyRecord
from autopeft.domain.results.front import front, normalised_hypervolume
from autopeft.domain.results.insight import mute
from autopeft.domain.results.pick import pick
from autopeft.domain.trial import State
from autopeft.report.document import reason, study_document
from autopeft.report.layer_maps import split
from autopeft.report.page import assets, explorer_page, json_for_html
from autopeft.report.values import axes

ACCURACY = Objective("accuracy", "maximize")
PARAMS = Objective("adapter_params", "minimize", "log")
MEMORY = Objective("peak_memory_gib", "minimize")


@pytest.fixture(scope="module")
def document():
    return explored_document(trials=with_maps(explored_trials()))


def test_it_is_json_and_holds_every_trial(document):
    again = json.loads(json.dumps(document, allow_nan=False))
    assert [row["number"] for row in again["trials"]] == list(range(64))
    assert {row["state"] for row in again["trials"]} == {"completed", "paused", "failed"}


def test_a_number_that_is_not_finite_is_null():
    trials = explored_trials()
    rung = replace(trials[1].rungs[-1], metrics={**trials[1].metrics, "step_ms": float("inf")})
    trials[1] = replace(trials[1], rungs=(rung,))
    found = explored_document(trials=trials)
    assert found["trials"][1]["metrics"]["step_ms"] is None


def test_the_curve_ends_at_the_hypervolume_and_never_falls(document):
    spec, trials = explored_spec(), with_maps(explored_trials())
    volumes = [volume for *_, volume in document["progress"]]
    expected = normalised_hypervolume(spec.objectives, spec.constraints, trials)
    assert volumes[-1] == pytest.approx(expected)
    assert volumes == sorted(volumes)
    assert document["progress"][-1][1] == pytest.approx(sum(t.seconds for t in trials) / 3600)


def test_pick_front_and_baselines_are_the_study_s(document):
    spec, trials = explored_spec(), with_maps(explored_trials())
    assert document["pick"]["trial"] == pick(spec.objectives, spec.constraints, trials).trial.number
    assert document["baselines"] == {"house": 0}
    assert document["constraints"][0]["bound"] == 100


def test_another_seed_points_to_the_trial_that_stands_for_both(document):
    rows = document["trials"]
    (again,) = [row for row in rows if row["of"] is not None]
    first = rows[again["of"]]
    assert (again["number"], again["seed"], first["seeds"]) == (59, 1, [2, 2])
    mean = (first["metrics"]["accuracy"] + again["metrics"]["accuracy"]) / 2
    assert first["mean"]["metrics"]["accuracy"] == pytest.approx(mean)


def test_a_confirmation_is_shown_as_it_runs_and_is_no_part_of_the_search(document):
    trials = with_maps(explored_trials())
    last = next(t for t in reversed(trials) if t.state is State.COMPLETED)
    again = replace(last, number=64, seed=1000, confirms=last.number)
    planned = replace(again, number=65, seed=1001, state=State.PLANNED, rungs=())
    found = explored_document(trials=[*trials, again, planned])
    assert [row["number"] for row in found["trials"]] == list(range(65))
    assert found["trials"][64]["of"] == last.number
    assert len(found["progress"]) == len(document["progress"])


def test_what_a_confirmation_passed_over_does_not_stand_and_its_one_seed_is_the_mean(document):
    rows = [row for row in document["trials"] if row["state"] == "completed"]
    assert all(row["stands"] == (row["of"] is None) for row in rows)
    trials = with_maps(explored_trials())
    spec = explored_spec()
    first = front(spec.objectives, spec.constraints, trials)[0]
    rung = first.rungs[-1]
    less = replace(rung, metrics={**rung.metrics, "accuracy": 0.1}, ended=rung.ended + 1e6)
    again = replace(first, number=64, seed=1000, confirms=first.number, rungs=(less,), created=1e6)
    found = explored_document(trials=[*trials, again])
    row = found["trials"][first.number]
    assert row["mean"]["metrics"]["accuracy"] == 0.1 != row["metrics"]["accuracy"]
    standing = {row["number"] for row in found["trials"] if row["stands"]}
    assert first.number in standing
    assert set(found["front"]) <= standing
    assert len(standing) == 1, "all others were passed over"


def test_a_zero_has_its_place_on_a_log_scale(document):
    least = {metric["name"]: metric["least"] for metric in document["metrics"]}
    assert (least["adapter_params"], least["accuracy"]) == (1.0, 1e-6)


def test_an_architecture_stands_once_with_its_peft_arguments(document):
    assert len(document["architectures"]) <= 64
    row = next(r for r in document["trials"] if r["branch"] == "lora")
    found = document["architectures"][row["architecture"]]
    ((module,), (arguments,)) = found["modules"], found["peft"]
    names = [document["names"][i][0] for i in module["targets"]]
    assert all(name.startswith("bert.encoder.layer.") for name in names)
    assert arguments["target_modules"] == {"$names": module["targets"]}
    assert arguments["r"] == module["size"]


def test_a_study_of_one_s_own_code_needs_no_model_and_tells_its_parameters():
    spec, trials = replace(explored_spec(), model={}), explored_trials(12)
    own = [
        replace(t, configuration=Configuration("own", Architecture(), {}, {"depth": t.number}))
        for t in trials
    ]
    found = study_document(
        spec,
        StudyRecord(spec.name, {}, ".", 0.0, "finished"),
        own,
        mute(spec.objectives, "it has no model"),
    )
    assert [row["parameters"] for row in found["trials"]] == [{"depth": i} for i in range(12)]
    assert found["trials"][3]["fields"]["parameters.depth"] == 3
    assert found["effects"][0]["silent"] == "it has no model"
    assert found["model"] == ""


def test_maps_hold_ranks_scores_and_a_pattern_that_keeps_every_scaling(document):
    maps = document["maps"]
    assert [len(maps["ranks"]), len(maps["scores"])] == [3, 1]
    assert maps["mean"]["trials"] == [entry["trial"] for entry in maps["ranks"]]
    (module,) = maps["ranks"][0]["pattern"]
    ranks = {f"{layer}.{kind}": rank for layer, kind, rank in maps["ranks"][0]["cells"]}
    assert set(module["rank_pattern"].values()) <= set(ranks.values()) - {0}
    assert len(module["target_modules"]) == sum(rank > 0 for rank in ranks.values())
    assert {module["alpha_pattern"][n] / r for n, r in module["rank_pattern"].items()} == {2.0}


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ("branch lora: initial design (2 of 8)", "initial design"),
        ("branch lora: model-based, +0.8 % hypervolume expected of 5 % left", "model-based"),
        ("baseline house: best of its size (every 3th trial)", "best of its size"),
        ("confirms trial 9", "confirms"),
        ("branch lora: another seed of trial 4: model-based", "another seed"),
        ("random: the sampler proposed what was evaluated already", "random"),
        ("", "not told"),
    ],
)
def test_a_reason_is_told_without_its_figures(why, kind):
    assert reason(replace(explored_trials()[1], why=why)) == kind


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("bert.encoder.layer.3.attention.self.query", (3, "attention.self.query")),
        ("model.layers.10.self_attn.q_proj", (10, "self_attn.q_proj")),
        ("classifier", (None, "classifier")),
    ],
)
def test_a_name_is_split_at_its_layer(name, place):
    assert split(name) == place


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
def test_quality_goes_up_and_cost_to_the_right(objectives, expected):
    assert axes(objectives) == expected


def test_no_text_of_a_study_can_end_the_script():
    text = json_for_html({"</script><!--": "a & b\u2028"})
    assert "<" not in text
    assert ">" not in text
    assert json.loads(text) == {"</script><!--": "a & b\u2028"}
    page = explorer_page(explored_document(trials=hostile(explored_trials())))
    assert "onerror=alert(1)>" not in page


def test_every_asset_is_in_the_page(document):
    page = explorer_page(document)
    for file in (assets() / "js").iterdir():
        assert file.read_text("utf-8") in page, file.name
    assert "/*SCRIPT*/" not in page
