"""Values as source: they read back equal, and are laid out as a formatter would."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import bert_shape
from hypothesis import given
from hypothesis import strategies as st

from autopeft.export.source import constant, literal, module_names

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_a_literal_reads_back_equal(value):
    assert ast.literal_eval(literal(value, indent=4, used=20)) == value


@given(JSON)
def test_a_constant_reads_back_equal(value):
    (statement,) = ast.parse(constant("NAME", value)).body
    assert ast.literal_eval(statement.value) == value


SHAPE = bert_shape(layers=12)
KINDS = ("attention.self.query", "attention.self.value", "output.dense")


def of(layers, kinds):
    return [f"bert.encoder.layer.{layer}.{kind}" for layer in layers for kind in kinds]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (of(range(12), KINDS), "for layer in range(0, 12)"),
        (of((0, 3, 11), KINDS), "for layer in [0, 3, 11]"),
        (of(range(2), KINDS[:1]), "for layer in range(0, 2)"),
        (of(range(12), KINDS)[:-1], '"bert.encoder.layer.11.attention.self.value",\n'),
        (of([5], KINDS[:1]), '["bert.encoder.layer.5.attention.self.query"]'),
        (["elsewhere.a", "elsewhere.b"], '["elsewhere.a", "elsewhere.b"]'),
        (of(range(12), [m.kind for m in SHAPE.modules[:6]]), "for layer in range(0, 12)"),
    ],
)
def test_module_names_are_layers_times_kinds_where_they_are_just_that(names, said, tmp_path):
    source = module_names("TARGET_MODULES", names, SHAPE)
    assert said in source
    values: dict = {}
    exec(source, values)
    assert sorted(values["TARGET_MODULES"]) == sorted(names)
    (tmp_path / "names.py").write_text(source + "\n")
    ruff = Path(sys.executable).parent / "ruff"
    options = ["--line-length", "100", "--no-cache", "--isolated", "--diff"]
    done = subprocess.run([ruff, "format", *options, tmp_path / "names.py"], capture_output=True)
    assert done.returncode == 0, done.stdout
