"""What the documents say in Python and in links is there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

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
