"""What the documents say in Python and in links is there."""

import ast
import importlib
import re
import runpy
from pathlib import Path

import pytest

from autopeft.domain.benchmarks import BENCHMARKS
from autopeft.domain.objective import METRICS
from autopeft.domain.tasks import KINDS

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
PYTHON = [
    (file.name, block)
    for file in FILES
    for block in re.findall(r"```python\n(.*?)```", file.read_text(), re.DOTALL)
]


@pytest.mark.parametrize(("name", "block"), PYTHON)
def test_a_block_of_python_names_what_exists(name, block):
    tree = ast.parse(block)
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {a.asname or a.name: a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autopeft"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                found = getattr(module, alias.name, None)
                if found is None:
                    found = importlib.import_module(f"{node.module}.{alias.name}")
                if isinstance(found, type(ast)):
                    modules[alias.asname or alias.name] = found.__name__
    ours = {n: m for n, m in modules.items() if m.partition(".")[0] == "autopeft"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = ours.get(node.value.id)
            if module is not None:
                assert hasattr(importlib.import_module(module), node.attr), ast.unparse(node)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_link_leads_somewhere(file):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", file.read_text()):
        if "://" in target:
            continue
        there = (file.parent / target).resolve() if target else file
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor[1:] in slugs, (anchor, slugs)


def _table(file, heading):
    """The cells of the first table under a heading, a list a row."""
    section = (ROOT / "docs" / file).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_kinds_of_task_are_told_as_they_are():
    told = [
        tuple(", ".join(re.findall(r"`([^`]+)`", cell)) for cell in row[:4])
        for row in _table("space-file.md", "Kinds of task")
    ]
    assert told == [
        (
            ", ".join([kind.task_type, *([kind.problem_type] if kind.problem_type else [])]),
            kind.trainer,
            ", ".join(kind.columns),
            ", ".join(kind.metrics),
        )
        for kind in KINDS.values()
    ]


def test_the_tasks_of_benchmarks_are_told_with_their_metrics():
    for (key, tasks), (name, benchmark) in zip(
        _table("space-file.md", "GLUE and SuperGLUE"), BENCHMARKS.items(), strict=True
    ):
        assert key == f"`{name}`"
        told = [re.sub(r" \(.*\)", "", task.strip()) for task in tasks.split(";")]
        assert told == [f"`{t}` {', '.join(b.metrics)}" for t, b in benchmark.tasks.items()]


def test_every_metric_is_told():
    told = {name for row in _table("space-file.md", "Metrics") for name in row[0].split("`")[1::2]}
    assert told == {name for name in METRICS if not name.startswith("servable_")}


def test_the_reference_is_what_the_checks_look_at():
    script = runpy.run_path(str(ROOT / "docs" / "reference.py"))
    told = script["FILE"].read_text(encoding="utf-8")
    assert told == script["reference"](), "run: python docs/reference.py"
