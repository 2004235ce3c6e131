"""What MLflow shows of a study in words and tables."""

from dataclasses import replace

import pytest
from explored import explored_spec, explored_trials, with_maps

from autopeft.domain.results.front import best_values, front
from autopeft.domain.results.pick import pick
from autopeft.report.description import description
from autopeft.report.layer_map import layer_map
from autopeft.report.layer_maps import split


@pytest.fixture(scope="module")
def spec():
    return explored_spec()


@pytest.fixture(scope="module")
def trials():
    return explored_trials()


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|")][2:]


def test_the_front_is_a_table_with_the_pick_and_the_baselines(spec, trials):
    text = description(spec, trials)
    members = front(spec.objectives, spec.constraints, trials)
    chosen = pick(spec.objectives, spec.constraints, trials).trial
    told = [row for row in rows(text) if row.startswith("| front")]
    assert [int(row.split("|")[2]) for row in told] == [trial.number for trial in members]
    (marked,) = [row for row in rows(text) if "**pick**" in row]
    assert int(marked.split("|")[2]) == chosen.number
    assert any("baseline" in row for row in rows(text))
    assert f"autopeft export {spec.name} --trial {chosen.number} --to" in text
    assert len(text) < 8000  # MLflow's limit of a tag


def test_a_study_without_a_front_says_so(spec):
    assert "Nothing is on the front yet." in description(spec, [])


def test_names_are_no_markdown(trials):
    assert "**my\\_films**" in description(explored_spec(name="my_films"), trials)


def test_the_best_so_far_is_also_told_at_the_cost_of_a_baseline(spec, trials):
    best = best_values(spec.objectives, spec.constraints, trials)
    members = front(spec.objectives, spec.constraints, trials)
    assert best["accuracy"] == max(trial.metrics["accuracy"] for trial in members)
    within = {name: value for name, value in best.items() if "_within_" in name}
    assert within
    assert all(value <= best["accuracy"] for name, value in within.items() if "accuracy" in name)
    assert best_values(spec.objectives, spec.constraints, []) == {}


def test_an_architecture_is_a_table_of_layers_by_modules(trials):
    trial = next(t for t in with_maps(trials) if t.provenance.get("ranks"))
    architecture, ranks = trial.configuration.architecture, trial.provenance["ranks"]
    page = layer_map(architecture, ranks)
    assert page.count("<tr>") == 1 + len({split(name)[0] for name in ranks if ranks[name]})
    assert "<td class=on" in page
    bare = layer_map(replace(architecture, modules=()))
    assert "No layer has an adapter." in bare
