from collections import Counter
from dataclasses import replace

from search.landscape import (
    HOUSE,
    LORA,
    baseline_trial,
    failed,
    make_problem,
    started,
)

from autopeft.domain.space import Space
from autopeft.search.candidates import initial


def design(problem, count):
    history = []
    for i in range(count):
        point = initial.suggest(problem, history, seed=i).point
        history.append(failed(started(problem, i, point)))
    return history


def test_branches_take_turns():
    history = design(make_problem(), 9)
    assert Counter(trial.configuration.branch for trial in history) == {
        "lora": 3,
        "ia3": 3,
        "prefix": 3,
    }


def test_layer_bits_are_diverse_in_density():
    history = design(make_problem(Space((LORA,))), 8)
    counts = [sum(trial.point["layers.bits"]) for trial in history]
    assert min(counts) <= 2
    assert max(counts) >= 5


def test_points_avoid_each_other_more_than_random_ones():
    problem = replace(make_problem(), space=Space((HOUSE,)))
    history = [baseline_trial(problem, 0, 1e-5)]
    rates = []
    for i in range(3):
        point = initial.suggest(problem, history, seed=i).point
        history.append(started(problem, i + 1, point, baseline=True))
        rates.append(point["training.learning_rate"])
    low, middle, high = sorted(rates)
    assert middle / low > 1.8
    assert high / middle > 1.8
    assert high / low > 10  # of the 32 that the middle half of its range spans
    assert all(10**-4.25 <= rate <= 10**-2.75 for rate in rates)


def test_the_size_follows_the_number_of_branches_and_of_variables():
    problem = make_problem()
    assert initial.default_size(problem) == 4
    many = tuple(replace(LORA, name=f"lora{i}") for i in range(6))
    assert initial.default_size(replace(problem, space=Space(many))) == 6
    assert initial.default_size(replace(problem, space=Space((HOUSE,)))) == 3
    assert initial.default_size(replace(problem, space=Space((LORA,)))) == 4


def test_at_most_a_third_of_a_known_budget_is_spent_on_it():
    problem = make_problem()
    assert initial.default_size(problem, 9) == 3
    assert initial.default_size(problem, 12) == 4
    assert initial.default_size(problem, 200) == 4
    assert initial.default_size(problem, 4) == 3
