"""Space files, expressions and constraints that mean harm: a message, soon, and never a crash."""

import json
import time

import pytest
from hypothesis import HealthCheck, given, seed, settings
from security import fuzzing

from autopeft.config import load
from autopeft.domain.errors import AutopeftError, SpecError
from autopeft.domain.expression import Expr, evaluated
from autopeft.domain.objective import Constraint
from autopeft.domain.results.pick import parse_when

MINIMAL = (fuzzing.FILES[0].parent / "minimal.yaml").read_text()

# The same inputs each time; `benchmarks/service/fuzz.py` is the long version.
_few = settings(
    max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@seed(7)
@_few
@given(content=fuzzing.SPACE_FILES)
def test_any_space_file_is_a_study_or_a_message(scratch, content):
    found = fuzzing.try_space_file(content, scratch)
    assert found.kind != "crashed", found.said


@seed(7)
@settings(_few, max_examples=300)
@given(text=fuzzing.EXPRESSIONS)
def test_any_expression_is_a_finite_number_or_a_message(text):
    found = fuzzing.try_expression(text)
    assert found.kind != "crashed", found.said


@seed(7)
@settings(_few, max_examples=300)
@given(text=fuzzing.CONSTRAINTS)
def test_any_constraint_is_one_or_a_message(text):
    found = fuzzing.try_constraint(text)
    assert found.kind != "crashed", found.said


EXPRESSIONS = {
    "a tower of powers": ("2 ** 2 ** 99", "an exponent stays within 64, got 99"),
    "powers of powers": ("(((r ** 64) ** 64) ** 64) ** 64", "stays within 9.22e+18 on the way"),
    "a huge float": ("r * 1e308 * 1e308", "stays within 9.22e+18 on the way"),
    "a number that is none": ("1e999 - 1e999", "stays within 9.22e+18 on the way"),
    "a complex number": ("(0 - r) ** 0.5", "stays within 9.22e+18 on the way"),
    "a division by nothing": ("r / 0", "division by zero"),
    "rounding to a billion digits": ("round(r, 0 - 999999999)", "round takes 64 digits or fewer"),
    "an import": ("__import__('os').system('true')", "an expression takes numbers, field names"),
    "an attribute": ("r.__class__", "an expression takes numbers, field names"),
    "a lambda": ("(lambda: 1)()", "an expression takes numbers, field names"),
    "a comprehension": ("[x for x in ()]", "an expression takes numbers, field names"),
    "ten thousand terms": (" + ".join(["r"] * 10_000), "shorten it to 200 characters"),
    "deep brackets": ("(" * 99 + "r" + ")" * 99, None),
    "many signs": ("-" * 199 + "r", None),
    "NUL": ("r\x00", "an expression takes numbers, field names"),
}


@pytest.mark.parametrize(("text", "said"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_expression_costs_little_whatever_it_says(text, said):
    began = time.process_time()
    if said is None:
        assert abs(evaluated({"r": 8, "it": Expr(text)})["it"]) == 8
    else:
        with pytest.raises(ValueError, match=said.replace("+", r"\+")):
            evaluated({"r": 8, "it": Expr(text)})
    assert time.process_time() - began < 1


def test_expressions_that_share_others_are_followed_once_each():
    """Each the sum of the two before: taken anew each time that would be a billion of them."""
    tree = {"f0": 1, "f1": 0}
    tree |= {f"f{i}": Expr(f"(f{i - 1} + f{i - 2}) % 7") for i in range(2, 45)}
    began = time.process_time()
    assert evaluated(tree)["f44"] in range(7)
    assert time.process_time() - began < 2


def test_a_long_chain_of_expressions_is_refused_in_a_sentence():
    tree = {"f0": 1, **{f"f{i}": Expr(f"f{i - 1}") for i in range(1, 3000)}}
    with pytest.raises(ValueError, match="at most 50 expressions follow each other"):
        evaluated({"it": Expr("f2999"), **tree})


@pytest.mark.parametrize(
    "text",
    [
        "1" * 100_000,
        "accuracy <= " + "1" * 100_000,
        "accuracy <= " + "1_" * 50_000,
        "accuracy <= 1" + " " * 100_000 + "x",
        "lm_eval/" + "a/" * 50_000,
        "accuracy <= 1e999",
        "accuracy >= 1e999 * baselines.house.accuracy",
        "accuracy >= baselines.house.accuracy - " + "9" * 400,
    ],
    ids=lambda text: text[:30],
)
def test_a_constraint_is_finite_and_short(text):
    began = time.process_time()
    with pytest.raises(ValueError, match="a constraint"):
        Constraint.parse(text)
    with pytest.raises(AutopeftError, match="--when"):
        parse_when(text)
    assert time.process_time() - began < 1


def bomb(levels: int = 12) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


FILES = {
    "a billion laughs": (bomb(), "more than 20000 values with aliases expanded"),
    "a bomb of merged keys": (
        "a0: &a0 {k: 1}\n"
        + "\n".join(
            f"a{i}: &a{i}\n  <<: *a{i - 1}\n  x: [*a{i - 1}, *a{i - 1}]" for i in range(1, 30)
        ),
        "more than 20000 values with aliases expanded",
    ),
    "an alias of itself": ("study: &a [*a]", "a study takes letters"),
    "brackets very deep": ("study: " + "[" * 200_000, "brackets nest at most 100 deep"),
    "lists a thousand deep": ("study:\n" + "- " * 5000 + "x", "not YAML|holds itself|deep"),
    "a key twice": (f"{MINIMAL}\nstudy: again\n", "not YAML: found duplicate key"),
    "a tag that runs": (
        "study: !!python/object/apply:os.system ['true']",
        "tags .`!name`. are not read",
    ),
    "a name that runs": ("study: !!python/name:os.system", "tags .`!name`. are not read"),
    "a set": ("study: !!set {a, b}", "tags .`!name`. are not read"),
    "NUL": ("study: a\x00b", "not YAML: .*special characters are not allowed"),
    "an escape": ("study: a\x1b[31mb", "not YAML: .*special characters are not allowed"),
    "a number of 5,000 digits": (f"study: {'9' * 5000}", "not YAML|a whole number stays within"),
    "a number of 400 digits": (f"study: {'9' * 400}", "a whole number stays within 9.22e.18"),
    "two million characters": ("# " + "x" * 2_000_000, "at most 262,144 bytes, got more"),
    "two documents": ("study: a\n---\nstudy: b\n", "not YAML|expected a single document"),
    "other bytes": (b"\xff\xfe\x00s", "text in UTF-8"),
    "a list": ("- a", "a space file is a mapping"),
}


@pytest.mark.parametrize(("content", "said"), FILES.values(), ids=FILES)
def test_a_hostile_space_file_is_a_message(tmp_path, content, said):
    path = tmp_path / "space.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    with pytest.raises(SpecError, match=said):
        load(path)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            "../../etc",
            "a/b/c",
            "a/..",
            "/etc/passwd",
            "a\\b",
            ".hidden",
            "",
            "a b",
            "é",
            "a\u202eb",
        ),
        *("<script>", "a\nb", "a\x00b", "C:", "a" * 101, "a'; drop table studies; --"),
    ],
)
def test_a_study_cannot_be_named_out_of_its_folder(tmp_path, name):
    path = tmp_path / "space.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(SpecError, match="a study takes"):
        load(
            path, [f"study={name!r}" if "\x00" not in name and "\n" not in name else 'study="a\\0"']
        )


HUGE = {
    "layers.last": ("layers", {"last": 2**62}),
    "layers.first": ("layers", {"first": 2**62}),
    "layers.range": ("layers", {"range": [0, 2**62]}),
    "layers of a number": ("layers", [2**62]),
    "a size that is a mapping": (
        "modules",
        [
            {
                "peft_type": "PREFIX_TUNING",
                "encoder_hidden_size": {"first": 1},
                "prefix_projection": 1,
            }
        ],
    ),
}


@pytest.mark.parametrize(("key", "value"), HUGE.values(), ids=HUGE)
def test_a_huge_number_takes_no_memory(tmp_path, key, value):
    """`last: 2 ** 62` once was a tuple of as many layers: the fuzzer was killed for it."""
    text = json.dumps({**fuzzing.read(fuzzing.FILES[0].parent / "minimal.yaml")[0], key: value})
    found = fuzzing.try_space_file(text.encode(), tmp_path)
    assert found.kind == "refused", found.said
    assert found.seconds < 2
