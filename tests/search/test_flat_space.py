from collections.abc import Mapping

from autopeft.domain.space import Bits, Branch, Choice, Json, Range
from autopeft.search.points.flat_space import flat
from autopeft.search.points.plain_encoding import PointEncoding


def branch(name: str, **tree: Json) -> Branch:
    return Branch(name, tree)


def method(*others: str, rate: float = 1.0) -> Mapping[str, Json]:
    """A choice whose first option has a rate of its own."""
    return {"method": Choice(({"rate": Range(0.0, rate)}, *others))}


def told(*branches: Branch, shared: bool) -> list[tuple[str, str]]:
    """The names and the branches of the flat space, in order."""
    return [(p.name, " ".join(p.branches)) for p in flat(branches, shared=shared)]


ONE = branch("one", bits=Bits(3), r=Choice((1, 2)))
TWO = branch("two", bits=Bits(3), r=Choice((1, 4)))


def test_what_branches_have_alike_is_one_parameter_and_what_differs_is_not():
    assert told(ONE, TWO, shared=True) == [("bits", "one two"), ("r", "one"), ("r", "two")]


def test_apart_every_branch_has_its_own_in_its_place():
    assert told(ONE, TWO, shared=False) == [
        ("bits", "one"),
        ("r", "one"),
        ("bits", "two"),
        ("r", "two"),
    ]


def test_what_a_choice_decides_is_alike_only_where_the_choice_is():
    same = branch("one", **method("plain")), branch("two", **method("plain"))
    assert told(*same, shared=True) == [("method", "one two"), ("method<0>.rate", "one two")]
    other = branch("three", **method("plain", "third"))
    assert told(*same, other, shared=True)[2:] == [("method", "three"), ("method<0>.rate", "three")]
    wider = branch("four", **method("plain", rate=2.0))
    assert [name for name, _ in told(same[0], wider, shared=True)].count("method<0>.rate") == 2


def test_no_two_parameters_have_one_key():
    for shared in (False, True):
        keys = [p.key for p in flat([ONE, TWO, branch("three", r=Choice((1, 4)))], shared=shared)]
        assert len(keys) == len(set(keys))


def test_a_shared_parameter_is_one_group_of_columns():
    encoding = PointEncoding.of([ONE, TWO], shared=True)
    points = [{"branch": name, "bits": (1, 0, 1), "r": 1} for name in ("one", "two")]
    assert encoding.encode(points).tolist() == [
        [1, 0, 1, 0, 1, 0, 1, 0, 0],
        [0, 1, 1, 0, 1, 0, 0, 0, 1],
    ]
