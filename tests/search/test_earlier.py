import json
from dataclasses import replace

import pytest
from fakes import bert_shape
from search.landscape import ACCURACY, failed, make_problem, random_trials, told

from autopeft.search.model.earlier import Earlier, Seen, earlier, translated
from autopeft.search.model.encoding import named


def study(problem, count=8):
    return earlier("first", problem, [told(t) for t in random_trials(problem, count)], ACCURACY)


def test_it_is_the_same_after_json():
    found = study(make_problem())
    assert Earlier.from_document(json.loads(json.dumps(found.document()))) == found


def test_scores_are_the_new_studys_and_what_failed_is_left_out():
    problem = make_problem()
    first, second, *rest = random_trials(problem, 6)
    history = [told(first), failed(second), *rest]
    (seen,) = earlier("first", problem, history, ACCURACY).seen
    assert seen.score == history[0].metrics["accuracy"]
    assert seen.deviation == pytest.approx(0.005)
    (other,) = earlier("first", problem, history, replace(ACCURACY, goal="minimize")).seen
    assert other.score == -seen.score


def test_on_the_same_model_nothing_changes():
    problem = make_problem()
    trials = random_trials(problem, 8)
    rows = translated(study(problem), problem.shape, by_method=False)
    for trial, row in zip(trials, rows, strict=True):
        assert row == pytest.approx(named(problem, trial.configuration))


def test_on_another_model_layers_are_relative_kinds_follow_their_role_and_parameters_the_size():
    small, large = bert_shape(2, width=64), bert_shape(6, width=128)
    llama = replace(
        large,
        modules=tuple(
            replace(m, kind=m.kind.replace("attention.self.query", "self_attn.q_proj"))
            for m in large.modules
        ),
    )
    size = small.total_parameters - small.head_parameters
    row = {"layer:1": 2.0, "share:LORA.0": 3.0, "kind:attention.self.query": 1.0}
    seen = Seen(row | {"cost:parameters": 7.0, "recipe:learning_rate": 1e-3}, 1e3, 0.2, 1.0, 0.9, 0)
    (found,) = translated(Earlier("first", 2, size, (seen,)), llama, by_method=True)
    assert {name: v for name, v in found.items() if name.startswith("layer:")} == pytest.approx(
        {"layer:3": 2.0, "layer:4": 2.0, "layer:5": 2.0}
    )
    assert found["share:LORA.2"] == pytest.approx(3.0)
    assert "share:LORA.3" not in found
    assert found["kind:self_attn.q_proj"] == 1.0
    assert "kind:attention.self.query" not in found
    assert 7.0 + 1 < found["cost:parameters"] < 7.0 + 3
    assert found["recipe:learning_rate"] == 1e-3


def test_a_layer_of_a_shallower_model_is_the_mean_of_those_it_stands_for():
    seen = Seen({"layer:0": 4.0, "layer:3": 1.0}, 1e3, 0.2, 1.0, 0.9, 0)
    (found,) = translated(Earlier("first", 4, 1, (seen,)), bert_shape(2), by_method=False)
    assert found == pytest.approx({"layer:0": 2.0, "layer:1": 0.5})


def test_shares_of_methods_stay_out_where_the_new_study_has_none():
    problem = make_problem()
    rows = translated(study(problem), problem.shape, by_method=False)
    assert not any(name.startswith("share:") for row in rows for name in row)
    assert any(name.startswith("share:") for seen in study(problem).seen for name in seen.features)
