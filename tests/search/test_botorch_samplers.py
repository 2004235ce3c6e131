from dataclasses import replace

import numpy as np
import pytest
from botorch.acquisition.multi_objective import logei
from search.landscape import ACCURACY, LORA, PARAMETERS, make_problem, random_trials, search, told

from autopeft.domain.objective import Objective
from autopeft.domain.space import Bits, Branch, Choice, Range, Space
from autopeft.search import BOTORCH, make_sampler
from autopeft.search.botorch.acquisition import (
    Observed,
    expected_gain,
    normal_scores,
    reference_of,
    standardised,
    worst_of,
)
from autopeft.search.botorch.models import plain, saas
from autopeft.search.botorch.samplers import RECIPES, _observed
from autopeft.search.botorch.torch_state import deterministic
from autopeft.search.candidates.pool import climb
from autopeft.search.points.plain_encoding import PointEncoding, freedoms

NESTED = Branch(
    "nested",
    {
        "r": Choice((1, 2, 8)),
        "bits": Bits(3),
        "method": Choice(({"rate": Range(0.0, 2.0)}, "plain")),
    },
)
SMALL = Branch(
    "small",
    {
        "modules": [
            {
                "peft_type": "LORA",
                "r": Choice((1, 2, 4, 8)),
                "target_modules": Choice(("query", "value")),
            }
        ],
        "training": {"learning_rate": 1e-3},
    },
)


def observed(count=12, objectives=2, pending=()):
    rng = np.random.default_rng(0)
    X = rng.random((count, 3))
    Y = np.column_stack([standardised(y, y) for y in (X[:, 0], -X[:, 0] + X[:, 1])])
    return Observed(X, Y[:, :objectives], np.array(pending).reshape(-1, 3), np.zeros((count, 0)))


def gains(seen, X, fit=plain, seed=0, scalarised=False):
    with deterministic(seed):
        gain = expected_gain(
            seen, fit, reference=reference_of(seen), seed=seed, scalarised=scalarised
        )
        return gain(np.array(X))


def test_a_row_holds_branch_options_bits_and_ranges_and_zeros_for_what_is_not_there():
    encoding = PointEncoding.of([NESTED, LORA])
    point = {"branch": "nested", "r": 1, "bits": (1, 0, 1), "method": 0, "method<0>.rate": 0.5}
    (row,) = encoding.encode([point])
    assert row[:11].tolist() == [1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0.25]
    assert len(row) == encoding.columns
    assert not row[11:].any()
    (without,) = encoding.encode([{"branch": "nested", "r": 1, "bits": (1, 0, 1), "method": 1}])
    assert without[8:11].tolist() == [0, 1, 0]


def test_growing_options_can_be_one_column():
    encoding = PointEncoding.of([NESTED], ordered=True)
    points = [{"branch": "nested", "r": r, "bits": (1, 1, 1), "method": 1} for r in range(3)]
    assert encoding.encode(points)[:, 0].tolist() == [0, 0.5, 1]
    assert encoding.columns == 1 + 3 + 2 + 1


def test_every_bit_is_a_freedom_and_every_choice_is_one():
    assert freedoms([NESTED]) == 1 + 3 + 1 + 1


def test_scores_by_rank_do_not_depend_on_the_scale_and_keep_the_order():
    y = np.array([0.1, 7.0, 0.3, 0.3])
    scores = normal_scores(y, y)
    assert np.allclose(scores, normal_scores(np.exp(y), np.exp(y)))
    assert scores[0] < scores[2] == scores[3] < scores[1]
    assert np.isclose(scores.sum(), 0)
    outside = normal_scores(y, np.array([-5.0, 50.0]))
    assert outside[0] < scores.min()
    assert outside[1] > scores.max()


def test_equal_outcomes_are_all_zero():
    y = np.full(5, 0.1)
    assert np.abs(standardised(y, y)).max() < 1e-9
    assert normal_scores(y, y).tolist() == [0] * 5


@pytest.mark.parametrize("scalarised", [False, True])
@pytest.mark.parametrize("fit", [plain, saas])
@pytest.mark.parametrize("objectives", [1, 2])
def test_what_is_pending_promises_less(fit, objectives, scalarised):
    X = np.random.default_rng(1).random((40, 3))
    free = gains(observed(objectives=objectives), X, fit, scalarised=scalarised)
    best = X[np.argmax(free)]
    seen = observed(objectives=objectives, pending=[best])
    assert gains(seen, [best], fit, scalarised=scalarised)[0] < free.max() - 0.5


def test_what_breaks_a_constraint_promises_less():
    seen = observed()
    bound = replace(seen, C=(seen.X[:, [2]] - 0.5) / 0.3)
    X = [[0.5, 0.95, 0.1], [0.5, 0.95, 0.9]]
    held, broken = gains(bound, X)
    assert broken < held - 1
    assert reference_of(bound) == pytest.approx(
        reference_of(replace(seen, Y=seen.Y[bound.feasible], C=bound.C[bound.feasible]))
    )


def test_below_the_worst_everything_that_holds_the_constraints_gains():
    seen = observed()
    assert (worst_of(seen) < seen.Y).all()
    assert (reference_of(seen) >= worst_of(seen)).all()
    bound = replace(seen, C=np.where(seen.Y[:, :1] == seen.Y[:, 0].min(), 1.0, -1.0))
    assert worst_of(bound)[0] > worst_of(seen)[0]
    alike = replace(seen, Y=np.zeros_like(seen.Y))
    assert (worst_of(alike) < 0).all()


def test_a_constraint_that_was_measured_once_is_left_out():
    seen = observed()
    column = np.full((12, 1), np.nan)
    column[3] = 1.0
    X = np.random.default_rng(1).random((5, 3))
    assert np.isfinite(gains(replace(seen, C=column), X)).all()


def test_the_climb_ends_at_the_best_of_all_it_scored():
    scored = {}

    def score(points):
        values = [-abs(p["x"] - 7) for p in points]
        scored.update({p["x"]: v for p, v in zip(points, values, strict=True)})
        return np.array(values, dtype=float)

    def near(point, rng):
        return [{"x": x} for x in (point["x"] - 1, point["x"] + 1) if x not in scored]

    point, best = climb(
        [{"x": 0}, {"x": 2}], score, near, np.random.default_rng(0), starts=2, rounds=20
    )
    assert (point["x"], best) == (7, max(scored.values()))


@pytest.mark.parametrize("name", BOTORCH)
def test_the_last_configuration_that_is_left_is_found(name):
    problem = make_problem(Space((SMALL,)))
    trials = [told(trial) for trial in random_trials(problem, 8)]
    suggestion = make_sampler(name, {"initial": 3}).suggest(problem, trials[:7], seed=0)
    assert name in suggestion.why
    assert problem.configure(suggestion.point).key == trials[7].configuration.key


@pytest.mark.parametrize("name", BOTORCH)
def test_a_given_reference_is_where_gains_are_counted_from(name):
    demanding = Objective("accuracy", "maximize", reference=0.75)
    problem = make_problem(objectives=[demanding, PARAMETERS])
    history = [told(trial) for trial in random_trials(problem, 12)]
    encoding = PointEncoding.of(problem.space.branches)
    seen, reference = _observed(problem, history, history, encoding, RECIPES[name])
    accuracy = np.array([trial.metrics["accuracy"] for trial in history])
    assert (seen.Y[:, 0] > reference[0]).tolist() == (accuracy > 0.75).tolist()
    assert reference[1] == reference_of(seen)[1]
    suggestion = make_sampler(name, {"initial": 3}).suggest(problem, history, seed=0)
    assert problem.admissible(suggestion.point) is not None


def test_running_and_half_trained_trials_and_broken_constraints_are_told_to_the_model():
    problem = make_problem(constraints=["peak_memory_gib <= 1.4", "adapter_params <= 1e9"])
    trials = random_trials(problem, 8)
    told_ones = [told(trial, share=1.0 if i % 2 else 0.3) for i, trial in enumerate(trials[:6])]
    encoding = PointEncoding.of(problem.space.branches)
    seen, _ = _observed(
        problem, [*told_ones, *trials[6:]], told_ones, encoding, RECIPES["botorch.qLogNEHVI"]
    )
    assert (len(seen.X), len(seen.pending), seen.C.shape) == (6, 2, (6, 1))
    assert seen.feasible.tolist() == [t.metrics["peak_memory_gib"] <= 1.4 for t in told_ones]


def test_the_design_grows_with_the_root_of_the_space_and_that_of_autopeft_with_the_budget():
    problem = make_problem()
    usual = RECIPES["botorch.qLogNEHVI"].design
    assert usual(problem, None) == 8  # LoRA 9 freedoms, IA3 2, prefix 2: 2 sqrt(13) = 7.2
    large = RECIPES["botorch.AutoPEFT"].design
    assert [large(problem, budget) for budget in (None, 40, 500)] == [100, 20, 100]


def test_trials_that_are_not_of_this_space_are_no_data():
    problem = make_problem()
    other = replace(problem, space=Space((SMALL,)))
    history = [told(trial) for trial in random_trials(problem, 10)]
    suggestion = make_sampler("botorch.qLogNEHVI", {"initial": 1}).suggest(
        replace(other, configure=make_problem(Space((SMALL,))).configure), history, seed=0
    )
    assert suggestion.why == "initial design (random)"


def test_every_name_has_a_recipe():
    assert tuple(RECIPES) == BOTORCH


def test_a_single_objective_is_served_by_every_recipe():
    problem = make_problem(objectives=[ACCURACY])
    history = [told(trial) for trial in random_trials(problem, 8)]
    for name in BOTORCH:
        suggestion = make_sampler(name, {"initial": 3}).suggest(problem, history, seed=0)
        assert suggestion.why.startswith(f"{name}, log gain ")


def test_no_kernel_is_compiled_in_the_middle_of_a_search(monkeypatch):
    compiled = []
    monkeypatch.setattr(
        "torch.utils.cpp_extension.load", lambda **options: compiled.append(options)
    )
    sampler = make_sampler("botorch.qLogNEHVI", {"initial": 4})
    history = search(sampler, make_problem(), trials=6, seed=0)
    assert history[-1].why.startswith("botorch.qLogNEHVI")
    assert not compiled
    assert logei._C is None
