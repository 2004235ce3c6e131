"""Hostile space files and expressions, and what reading them may come to: for tests and
`benchmarks/service/fuzz.py`.

A space file is a study or an AutopeftError; an expression is a finite number or a ValueError; a
constraint is one or a ValueError. Anything else that is raised is a crash, and so is more than
`PATIENCE_S` of processor time.
"""

import copy
import json
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fakes import bert_shape
from hypothesis import strategies as st

from autopeft.config import bind, load
from autopeft.config.reading import read
from autopeft.domain.errors import AutopeftError
from autopeft.domain.expression import Expr, evaluated
from autopeft.domain.objective import Constraint
from autopeft.domain.results.pick import parse_when

PATIENCE_S = 5.0
_TOP = Path(__file__).parents[2]
FILES = (*sorted((_TOP / "search_spaces").glob("*.yaml")), _TOP / "tests" / "config" / "good.yaml")
SEEDS = tuple(path.read_text(encoding="utf-8") for path in FILES)
DOCUMENTS = tuple(read(path)[0] for path in FILES)

_SHAPE = bert_shape()


@dataclass(frozen=True)
class Outcome:
    """What came of one input. kind: accepted, refused or crashed."""

    kind: str
    seconds: float
    said: str = ""


def outcome(act: Callable[[], Any], *refusals: type[Exception]) -> Outcome:
    """Of one attempt, in processor time: a busy machine is not the input's fault."""
    began = time.process_time()
    kind, said = "accepted", ""
    try:
        act()
    except refusals as error:
        kind, said = "refused", str(error)
        if not said or "Traceback" in said:
            kind, said = "crashed", f"a message that tells nothing: {said[:200]!r}"
    except Exception:
        kind, said = "crashed", traceback.format_exc()
    seconds = time.process_time() - began
    if kind != "crashed" and seconds > PATIENCE_S:
        kind, said = "crashed", f"took {seconds:.1f} s"
    return Outcome(kind, seconds, said)


# -- space files ---------------------------------------------------------------------------


def try_space_file(content: bytes, scratch: Path) -> Outcome:
    """Read a file, check it, bind it to a model and draw from it."""
    path = scratch / "space.yaml"
    path.write_bytes(content)

    def act() -> None:
        spec = bind(load(path), _SHAPE, source=path)
        rng = np.random.default_rng(0)
        for _ in range(3):
            json.dumps(spec.space.realise(spec.space.draw(rng)), allow_nan=False)

    return outcome(act, AutopeftError)


_WORDS = (
    *("", " ", "all", "no", "~", "null", "2 * r", "r / 0", "r ** r ** r", "a b", "lora", "LORA"),
    *("../..", "/etc/passwd", "<script>alert(1)</script>", "{{7*7}}", "${HOME}", "=1+1", "a:b:c"),
    *("\x00", "\x1b[31m", "\u202e", "é", "e\u0301", "\ud7ff", "\ufeff", "١٢", "😀", "x" * 300),
    *("baselines.house.accuracy", "accuracy >= 1", "accuracy >= 1e999", "os:system", "a.b:c"),
    *("2026-01-01", "1_000", "0x1F", "0o17", "1e400", "-0", ".inf", ".nan", "true", "<<", "*a"),
)
_KEYS = (
    *("choice", "subset", "min", "low", "high", "log", "step", "expr", "first", "range", "bits"),
    *("peft_type", "r", "path", "carve", "adalora", "name", "epochs", "training", "modules", "<<"),
    *("study", "model", "metrics", "function", "stop", "per_layer", "per_group", "layers", "last"),
    *("__class__", "__proto__", "", "a.b", "a[0]", "0", "\x1b[31m", "é", "space", "parameters"),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**63, 10**30, 10**400, -(10**400)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(_WORDS),
    st.text(max_size=20),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=6), inner, max_size=4),
    ),
    max_leaves=12,
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [path, *(place for key in inner for place in _places(node[key], (*path, key)))]


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


@st.composite
def mutated_documents(draw: st.DrawFn) -> bytes:
    """A good document with a few of its values replaced, moved, removed, wrapped or added to.

    Written as JSON, which is YAML: what is fuzzed here are the rules, not the syntax.
    """
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 5))):
        places = [place for place in _places(document) if place]
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        parent = _at(document, tuple(above))
        match draw(st.sampled_from(["value", "value", "remove", "move", "wrap", "add"])):
            case "value":
                parent[last] = draw(VALUES)
            case "remove":
                del parent[last]
            case "move":
                other = _at(document, draw(st.sampled_from(places)))
                parent[last] = copy.deepcopy(other)
            case "wrap":
                form = draw(st.sampled_from(["choice", "subset", "list", "expr", "low", "bits"]))
                wrapped = copy.deepcopy(parent[last])
                parent[last] = (
                    [wrapped]
                    if form == "list"
                    else {form: [wrapped, draw(LEAVES)] if form != "expr" else wrapped}
                )
            case "add":
                if isinstance(parent, dict):
                    parent[draw(st.sampled_from(_KEYS))] = draw(VALUES)
                else:
                    parent.insert(0, draw(VALUES))
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


_PIECES = st.one_of(
    st.sampled_from(
        [
            *("&a", "*a", "<<: *a", "!!python/object/apply:os.system", "!!binary", "!!set", "? "),
            *("- ", ": ", "{", "}", "[", "]", "|", ">", "---", "...", "%YAML 1.1", "#", "'", '"'),
            *("\n", "\n  ", "\t", "\r", "\x00", "\x85", "\u2028", "\ufeff", "\x1b", "\\x1b", "@"),
            *("[" * 500, "{a: " * 500, "- " * 500, "&a [*a]", "9" * 5000, "x" * 5000, "1e9999"),
            *("study: a\nstudy: b\n", "space: {}\n", "? {a: b}\n: c\n", "=", "~", "!", "`"),
        ]
    ),
    st.text(max_size=10),
)


@st.composite
def mutated_texts(draw: st.DrawFn) -> bytes:
    """A good file with pieces of its text removed, doubled, moved or replaced by what is not meant
    to stand there; or bytes of no file at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["insert", "insert", "remove", "double", "move"])):
            case "insert":
                text = text[:start] + draw(_PIECES) + text[start:]
            case "remove":
                text = text[:start] + text[end:]
            case "double":
                text = text[:end] + text[start:end] + text[end:]
            case "move":
                rest = text[:start] + text[end:]
                to = draw(st.integers(0, len(rest)))
                text = rest[:to] + text[start:end] + rest[to:]
    return text.encode(errors="surrogatepass")


SPACE_FILES = st.one_of(mutated_documents(), mutated_texts())

# -- expressions, constraints ----------------------------------------------------------------

NAMES = {
    "r": 8,
    "zero": 0,
    "minus": -3,
    "half": 0.5,
    "big": 1e308,
    "small": 5e-324,
    "wide": 2**64,
    "huge": 10**300,
    "text": "8",
    "truth": True,
    "none": None,
    "list": [1],
    "sizes": {},
}
_ATOMS = st.one_of(
    st.sampled_from([*NAMES, "x", "r", "é", "__import__", "9" * 60, "1e308", "1e999", "0", "1_0"]),
    st.sampled_from(["1j", "0x10", "''", "()", "True", "None", "r.real", "r[0]", "f'{r}'", "..."]),
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
)
_OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "**", "@", "<<", "and", "<", ",", "if", ":=", "")


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    calls = st.sampled_from(
        [
            "min",
            "max",
            "round",
            "int",
            "abs",
            "pow",
            "eval",
            "exec",
            "open",
            "lambda",
            "(lambda: r)",
        ]
    )
    return st.one_of(
        st.tuples(inner, st.sampled_from(_OPERATORS), inner).map(" ".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
        st.tuples(calls, inner).map(lambda both: f"{both[0]}({both[1]})"),
        st.tuples(calls, inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(inner, st.integers(2, 300)).map(lambda both: both[0] * both[1]),
    )


EXPRESSIONS = st.one_of(st.recursive(_ATOMS, _joined, max_leaves=25), st.text(max_size=80))

_PARTS = st.one_of(
    st.sampled_from(
        [
            *("accuracy", "lm_eval/a/b", "<=", ">=", "<", ">", "==", "baselines.house.accuracy"),
            *("baselines.", ".", "*", "+", "-", "0.98", "1e999", "8", "1_000", "9" * 400, " "),
            *("and", ",", "or", "not", "(", ")", "é", "\n", "0." + "0" * 500, "_" * 200, "-+1"),
            *("1" * 20_000, "1_" * 5_000, " " * 20_000, "a" * 20_000, "*" * 1000),
        ]
    ),
    st.text(max_size=6),
    _ATOMS,
)
_NUMBERS = st.one_of(
    st.floats(allow_nan=False).map(str),
    st.integers().map(str),
    st.sampled_from(["1_000", "1e999", ".5", "8.", "-0", "9" * 400, "1e-999", "+1", "0x1"]),
)
_BOUNDS = st.one_of(
    _NUMBERS,
    st.tuples(_NUMBERS, st.sampled_from([" * ", "*", " + ", ""]), _NUMBERS).map(
        lambda t: f"{t[0]}{t[1]}baselines.house.accuracy - {t[2]}"
    ),
    st.sampled_from(["baselines.house.accuracy", "baselines.x.lm_eval/a/b", "baselines.house."]),
)
_WHOLE = st.tuples(
    st.sampled_from(["accuracy", " accuracy ", "lm_eval/a/b", "é", "2x", "a-b"]),
    st.sampled_from(["<=", ">=", "<", ">", " < ", "==", ""]),
    _BOUNDS,
).map("".join)
CONSTRAINTS = st.one_of(
    _WHOLE,
    st.lists(_WHOLE, min_size=2, max_size=4).map(" and ".join),
    st.lists(_PARTS, max_size=9).map(" ".join),
    st.lists(_PARTS, max_size=9).map("".join),
    st.text(max_size=60),
)


def try_expression(text: str) -> Outcome:
    """Check an expression and evaluate it among names of all kinds."""

    def act() -> None:
        value = evaluated({**NAMES, "it": Expr(text)})["it"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise AssertionError(f"{text!r} is no number: {value!r:.80}")
        if not math.isfinite(value):
            raise AssertionError(f"{text!r} is not finite: {value!r}")
        json.dumps(value, allow_nan=False)

    return outcome(act, ValueError)


def try_constraint(text: str) -> Outcome:
    """Read a constraint, and what `--when` takes, and hold them against metrics."""
    metrics = {"accuracy": 0.5, "lm_eval/a/b": 0.1}

    def act() -> None:
        constraint = Constraint.parse(text)
        bound = constraint.bound({"house": metrics})
        if bound is not None and not math.isfinite(bound):
            raise AssertionError(f"{text!r:.80} has the bound {bound}")
        constraint.holds(metrics, {"house": metrics})

    found = outcome(act, ValueError)
    when = outcome(lambda: [c.holds(metrics) for c in parse_when(text)], AutopeftError)
    return max(found, when, key=lambda each: (each.kind == "crashed", each.seconds))
