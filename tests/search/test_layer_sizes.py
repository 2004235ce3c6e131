"""Sizes by layer in the search: drawn, encoded, stepped between, and understood by every sampler."""

import json

import numpy as np
import pytest
from search.landscape import make_problem, random_trials, told

from autopeft.domain.expression import Expr
from autopeft.domain.space import Branch, Choice, Range, Space
from autopeft.search import BOTORCH, make_sampler
from autopeft.search.model.encoding import Encoding, features
from autopeft.search.points.drawing import dimensions, from_units
from autopeft.search.points.moves import neighbours

RATE = {"training": {"learning_rate": Range(1e-5, 1e-2, log=True)}}
SIZE = Choice((0, 4, 8))
LORA = {
    "peft_type": "LORA",
    "r": {"per_layer": [SIZE] * 6},
    "lora_alpha": Expr("2 * r"),
    "target_modules": ["query", "value"],
}
SERIAL = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": {"per_group": [SIZE] * 3}}
BY_LAYER = Branch("by_layer", {"modules": [LORA], **RATE})
COMPOSITE = Branch("composite", {"modules": [LORA, SERIAL], **RATE})
SAMPLERS = ["autopeft", "random", "optuna.TPESampler", "optuna.NSGAIISampler", *BOTORCH]
FAMILY = "modules[0].r.per_layer"


def point_of(branch, r, bottleneck_size=()):
    """A point of a branch with these positions of the sizes."""
    point = {"branch": branch.name, "training.learning_rate": 1e-3}
    point |= {f"{FAMILY}[{i}]": position for i, position in enumerate(r)}
    groups = "modules[1].bottleneck_size.per_group"
    return point | {f"{groups}[{i}]": position for i, position in enumerate(bottleneck_size)}


def row_of(problem, point):
    configuration = problem.configure(point)
    return features(configuration, problem.shape, problem.known(configuration.architecture))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_suggests_a_new_admissible_point(name):
    problem = make_problem(Space((BY_LAYER,)))
    options = {"initial": 6, "candidates": 64} if name in ("autopeft", *BOTORCH) else {}
    sampler = make_sampler(name, options)
    history = [told(trial) for trial in random_trials(problem, 9)]
    for known in ([], history):
        suggestion = sampler.suggest(problem, known, seed=0)
        assert suggestion == sampler.suggest(problem, known, seed=0)
        assert {p.name for p in BY_LAYER.parameters} == set(suggestion.point) - {"branch"}
        configuration = problem.admissible(json.loads(json.dumps(suggestion.point)))
        assert configuration is not None
        assert configuration.key not in {trial.configuration.key for trial in known}


def test_draws_cover_what_is_small_large_even_and_uneven():
    rng, space = np.random.default_rng(0), Space((BY_LAYER,))
    drawn = [space.draw(rng) for _ in range(400)]
    positions = np.array([[point[f"{FAMILY}[{i}]"] for i in range(6)] for point in drawn])
    means = positions.mean(axis=1)
    assert 0.1 < (np.ptp(positions, axis=1) == 0).mean() < 0.4  # independent draws: 0.004
    assert (means < 0.4).mean() > 0.1  # independent draws: 0.01
    assert (means > 1.6).mean() > 0.1
    assert abs((positions == 1).mean() - 1 / 3) < 0.05


def test_the_unit_cube_reaches_the_same_points():
    rng = np.random.default_rng(0)
    width = dimensions(BY_LAYER)
    assert width == 1 + 6 + 1  # the share that differs, the sizes, the learning rate
    points = [from_units(BY_LAYER, rng.random(width)) for _ in range(400)]
    positions = np.array([[point[f"{FAMILY}[{i}]"] for i in range(6)] for point in points])
    assert 0.1 < (np.ptp(positions, axis=1) == 0).mean() < 0.4
    assert all(abs((positions[:, i] == 1).mean() - 1 / 3) < 0.1 for i in range(6))
    alike = from_units(BY_LAYER, np.array([0.0, 0.5, 0.1, 0.2, 0.3, 0.9, 0.9, 0.5]))
    apart = from_units(BY_LAYER, np.array([1.0, 0.5, 0.1, 0.2, 0.3, 0.9, 0.9, 0.5]))
    assert [alike[f"{FAMILY}[{i}]"] for i in range(6)] == [1] * 6
    assert [apart[f"{FAMILY}[{i}]"] for i in range(6)] == [1, 0, 0, 0, 2, 2]


def test_neighbours_change_one_layer_or_make_all_alike():
    start = point_of(BY_LAYER, r=[0, 1, 2, 2, 2, 2])
    found = list(neighbours(BY_LAYER, start, np.random.default_rng(0)))
    changed = [{name for name in start if point[name] != start[name]} for point in found]
    one = [names for names in changed if len(names) == 1 and "training.learning_rate" not in names]
    assert len(one) == 6 * 2
    alike = [point for point in found if len({point[f"{FAMILY}[{i}]"] for i in range(6)}) == 1]
    assert sorted(point[f"{FAMILY}[0]"] for point in alike) == [0, 1, 2]
    assert all(changed)


def test_equal_sizes_are_the_vector_of_the_plain_size():
    plain = Branch("plain", {"modules": [LORA | {"r": Choice((4, 8))}], **RATE})
    problem = make_problem(Space((BY_LAYER, plain)))
    one = problem.configure(point_of(BY_LAYER, r=[2] * 6))
    other = problem.configure(
        {"branch": "plain", "modules[0].r": 1, "training.learning_rate": 1e-3}
    )
    encoding = Encoding.fit(problem, [t.configuration for t in random_trials(problem, 20)])
    np.testing.assert_array_equal(*encoding.encode([one, other]))


def test_a_layer_shows_its_own_size():
    row = row_of(make_problem(Space((BY_LAYER,))), point_of(BY_LAYER, r=[0, 1, 2, 1, 1, 1]))
    assert "layer:0" not in row
    assert row["layer:1"] == pytest.approx(np.log2(1 + 2 * 4))
    assert row["layer:2"] == pytest.approx(np.log2(1 + 2 * 8))
    assert row["size:LORA"] == pytest.approx(np.log2(1 + 24 / 5))
    assert row["field:LORA.lora_alpha"] == pytest.approx(2 * 24 / 5)
    assert not any("pattern" in name for name in row)


def test_a_tuner_that_became_several_modules_still_counts_as_one():
    problem = make_problem(Space((COMPOSITE,)))
    row = row_of(problem, point_of(COMPOSITE, r=[0] * 6, bottleneck_size=[1, 2, 0]))
    assert row["method:SERIAL_ADAPTER"] == 1
    assert row["size:SERIAL_ADAPTER"] == pytest.approx(np.log2(1 + 6))


def test_different_configurations_are_different_vectors():
    for branch in (BY_LAYER, COMPOSITE):
        problem = make_problem(Space((branch,)))
        drawn = [trial.configuration for trial in random_trials(problem, 60)]
        X = Encoding.fit(problem, drawn).encode(drawn)
        assert len(np.unique(X, axis=0)) == 60


def test_which_method_is_large_where_tells_two_composites_apart():
    problem = make_problem(Space((COMPOSITE,)))
    points = [
        point_of(COMPOSITE, r=[2, 2, 1, 1, 0, 0], bottleneck_size=[1, 2, 0]),
        point_of(COMPOSITE, r=[1, 1, 2, 2, 0, 0], bottleneck_size=[2, 1, 0]),
    ]
    configurations = [problem.configure(point) for point in points]
    drawn = [trial.configuration for trial in random_trials(problem, 40)]
    one, other = Encoding.fit(problem, drawn).encode(configurations)
    assert (one != other).any()
