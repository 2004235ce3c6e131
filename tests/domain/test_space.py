import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autopeft.domain.expression import Expr, check_expression
from autopeft.domain.space import Bits, Branch, Choice, Range, Space, Subset, draw_bits, realise

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def ranges(draw):
    """Integer, float, log and stepped ranges."""
    if draw(st.booleans()):
        low = draw(st.integers(-50, 50))
        high = low + draw(st.integers(1, 100))
        step = draw(st.none() | st.integers(1, 20))
        return Range(low, high, step=step)
    low = draw(st.floats(1e-5, 1e2))
    high = low * draw(st.floats(1.5, 1e3))
    if draw(st.booleans()):
        return Range(low, high, log=True)
    return Range(low, high, step=draw(st.none() | st.floats(0.01, 1).map(lambda s: s * high)))


@st.composite
def trees(draw, depth=3):
    """Literal trees with variables, nested choices among them."""
    literals = st.integers(-3, 3) | st.booleans() | st.sampled_from(["a", "b"]) | st.none()
    variables = st.one_of(
        ranges(),
        st.integers(1, 5).map(Bits),
        st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True).map(
            lambda options: Subset(tuple(options), min=1)
        ),
    )
    if depth == 0:
        return draw(literals | variables)
    below = trees(depth=depth - 1)
    return draw(
        st.one_of(
            literals,
            variables,
            st.dictionaries(st.sampled_from(["x", "y", "z"]), below, max_size=3),
            st.lists(below, max_size=2),
            st.lists(below, min_size=1, max_size=3).map(lambda options: Choice(tuple(options))),
        )
    )


@given(ranges(), st.floats(0, 1))
def test_a_range_stays_within_its_bounds_and_on_its_steps(variable, unit):
    value = variable.at(unit)
    assert variable.low <= value <= variable.high
    assert isinstance(value, int) == variable.integer
    if variable.step is not None:
        steps = (value - variable.low) / variable.step
        assert math.isclose(steps, round(steps), abs_tol=1e-6)


@given(ranges(), st.floats(0, 1))
def test_unit_is_the_inverse_of_at(variable, unit):
    value = variable.at(unit)
    assert variable.at(variable.unit(value)) == pytest.approx(value, rel=1e-9)
    if variable.integer or variable.step is not None:
        assert variable.at(variable.unit(value)) == value


@given(ranges(), st.floats(0, 1), st.floats(0, 1))
def test_a_range_is_monotone(variable, one, other):
    low, high = sorted((one, other))
    assert variable.at(low) <= variable.at(high)


@given(st.integers(1, 40), st.data())
def test_bits_have_at_least_so_many_ones(length, data):
    least = data.draw(st.integers(0, length))
    bits = draw_bits(length, least, np.random.default_rng(data.draw(SEEDS)))
    assert len(bits) == length
    assert set(bits) <= {0, 1}
    assert sum(bits) >= least


def test_the_number_of_ones_is_uniform():
    rng = np.random.default_rng(0)
    counts = np.bincount([sum(draw_bits(4, 1, rng)) for _ in range(4000)], minlength=5)
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 1000) < 150).all()


@given(st.dictionaries(st.sampled_from(["m", "n"]), trees(), min_size=1), SEEDS)
def test_a_drawn_point_assigns_the_active_variables_and_realises_to_literals(tree, seed):
    space = Space((Branch("only", tree),))
    point = space.draw(np.random.default_rng(seed))
    parameters = space["only"].parameters
    names = [parameter.name for parameter in parameters]
    assert len(names) == len(set(names))
    assert set(point) == {"branch"} | {p.name for p in parameters if p.active(point)}
    assert _literal(space.realise(point))


@given(st.dictionaries(st.sampled_from(["m", "n"]), trees(), min_size=1), SEEDS)
def test_the_same_seed_draws_the_same_point(tree, seed):
    space = Space((Branch("one", tree), Branch("other", tree)))
    draws = [space.draw(np.random.default_rng(seed)) for _ in range(2)]
    assert draws[0] == draws[1]


def _literal(tree):
    if isinstance(tree, dict):
        return all(_literal(value) for value in tree.values())
    if isinstance(tree, list):
        return all(_literal(value) for value in tree)
    return tree is None or isinstance(tree, bool | int | float | str)


def test_variables_inside_an_option_exist_only_where_it_is_chosen():
    tree = {"allocation": Choice(("uniform", {"ist": {"layers": Range(1, 4)}}))}
    branch = Branch("b", tree)
    inner = branch.parameters[1]
    assert inner.given == (("allocation", 1),)
    assert not inner.active({"branch": "b", "allocation": 0})
    assert realise(tree, {"allocation": 0}) == {"allocation": "uniform"}
    point = {"allocation": 1, inner.name: 3}
    assert realise(tree, point) == {"allocation": {"ist": {"layers": 3}}}


NUMBERS = st.integers(-20, 20).map(str) | st.floats(0.01, 20).map(lambda x: f"{x:.3f}")
EXPRESSIONS = st.recursive(
    NUMBERS | st.sampled_from(["r", "k"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
        inner.map(lambda text: f"-({text})"),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, st.integers(1, 64), st.integers(1, 8))
def test_an_expression_means_what_python_means(text, r, k):
    assume(len(text) <= 200)
    assert check_expression(text) <= {"r", "k"}
    names = {"r": r, "k": k}
    try:
        expected = eval(text, {"__builtins__": {"min": min, "max": max}}, names)
    except ZeroDivisionError:
        assume(False)
    assert Expr(text).evaluate(names) == expected


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "r.x", "r[0]", "lambda: 1", "'a' * 9", "True", "r if r else 1", "", "1 +"],
)
def test_anything_else_than_arithmetic_is_refused(text):
    with pytest.raises(ValueError, match="an expression takes numbers, field names"):
        Expr(text)


def test_a_huge_exponent_is_refused():
    with pytest.raises(ValueError, match="an exponent stays within 64, got 999"):
        Expr("9 ** 999").evaluate({})


def test_an_expression_follows_fields_of_its_mapping_and_of_the_modules():
    tree = {
        "modules": [{"r": Choice((4, 8)), "lora_alpha": Expr("2 * r")}],
        "allocation": {"adalora": {"init_r": Expr("1.5 * r"), "beta": Expr("init_r / 10")}},
    }
    taken = realise(tree, {"modules[0].r": 1})
    assert taken["modules"] == [{"r": 8, "lora_alpha": 16}]
    assert taken["allocation"]["adalora"] == {"init_r": 12, "beta": 1.2}


def test_expressions_that_follow_each_other_in_a_circle_are_refused():
    with pytest.raises(ValueError, match="is not a number here, got None"):
        realise({"a": Expr("b + 1"), "b": Expr("a + 1")}, {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(()), "choice needs at least one option"),
        (lambda: Range(2, 1), "a range needs low < high, got low=2, high=1: swap them"),
        (lambda: Range(0, 1, log=True), "log needs low > 0, got low=0: raise low or drop log"),
        (lambda: Range(0, 1, step=-1), "step needs step > 0 and no log"),
        (lambda: Subset((1,), min=2), "subset needs 0 <= min <= number of options"),
    ],
)
def test_a_wrong_variable_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
