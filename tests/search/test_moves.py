import numpy as np
from search.landscape import make_problem, random_trials, started, told

from autopeft.domain.space import Bits, Branch, Choice, Range, Subset
from autopeft.search.candidates.pool import Fresh, gathered
from autopeft.search.points.drawing import block
from autopeft.search.points.moves import moves, neighbours, stepped

BRANCH = Branch(
    "one",
    {
        "layers": {"bits": Bits(3)},
        "modules": [{"peft_type": "LORA", "target_modules": Subset(("query", "value"), min=1)}],
        "allocation": Choice(("uniform", {"adalora": {"init_r": Choice((10, 12))}})),
        "training": {"learning_rate": Range(1e-5, 1e-2, log=True)},
    },
)
START = {
    "branch": "one",
    "layers.bits": (0, 1, 0),
    "modules[0].target_modules": (1, 0),
    "allocation": 0,
    "training.learning_rate": 1e-2,
}
BELOW = "allocation<1>.adalora.init_r"


def test_neighbours_are_one_option_one_bit_or_one_step_away():
    found = list(neighbours(BRANCH, START, np.random.default_rng(0)))
    assert {p["layers.bits"] for p in found} == {(0, 1, 0), (1, 1, 0), (0, 1, 1)}  # one stays on
    assert {p["modules[0].target_modules"] for p in found} == {(1, 0), (1, 1)}
    rates = [p["training.learning_rate"] for p in found]
    assert sum(rate < 1e-2 for rate in rates) == 3  # at the upper end there are steps down alone
    (other,) = [p for p in found if p["allocation"] == 1]
    assert other[BELOW] in (0, 1)
    assert all(p != START for p in found)


def test_what_a_new_option_does_not_have_is_dropped():
    start = {**START, "allocation": 1, BELOW: 1}
    found = list(neighbours(BRANCH, start, np.random.default_rng(0)))
    assert [BELOW in point for point in found if point["allocation"] == 0] == [False]
    assert sum(point.get(BELOW) == 0 for point in found) == 1


def test_a_step_is_one_of_the_neighbours():
    rng = np.random.default_rng(0)
    for _ in range(30):
        point = stepped(BRANCH, START, rng)
        assert sum(point[name] != START[name] for name in START) <= 1
    assert len(moves(BRANCH, START)) == 3 + 2 + 1 + 6


def test_the_pool_changes_little_with_one_more_trial():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 18)]
    pools = [
        gathered(problem, told_, Fresh(problem, told_), np.random.default_rng(i), 64, block)[:64]
        for i, told_ in enumerate((history[:17], history))
    ]
    keys = [{problem.configure(point).key for point in pool} for pool in pools]
    assert 40 <= len(keys[0] & keys[1]) < 64
    other = [*[started(problem, 0, pools[0][0])], *history[1:]]  # another study
    rng = np.random.default_rng(0)
    pool = gathered(problem, other, Fresh(problem, other), rng, 64, block)[:64]
    assert len(keys[1] & {problem.configure(point).key for point in pool}) < 20
