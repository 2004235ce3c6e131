"""The embedded task: pairs that say nothing about their label but by what they mean."""

import importlib
import json
import re
import sys
from collections import Counter

import pytest

from autopeft.domain.errors import AutopeftError
from autopeft.training.loading.docstrings import (
    PACKAGES,
    SHARES,
    build_docstrings,
    load_split,
    write,
)


@pytest.fixture(scope="module")
def splits():
    return build_docstrings(["optuna", "sqlalchemy", "peft"])


def test_splits_are_balanced_and_share_no_function_and_no_text(splits):
    assert set(splits) == set(SHARES)
    for rows in splits.values():
        counts = Counter(row["label"] for row in rows)
        assert counts[0] == counts[1] > 0
    for key in ("signature", "docstring"):
        seen = [{row[key] for row in rows} for rows in splits.values()]
        assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]


def test_a_signature_stands_once_and_no_docstring_names_its_function(splits):
    rows = [row for part in splits.values() for row in part]
    assert len({row["signature"] for row in rows}) == len(rows)
    for row in rows:
        if row["label"] == 1:
            name = row["signature"].split("(")[0].rpartition(".")[2]
            words = r"[\s_]*".join(re.escape(part) for part in name.split("_") if part)
            assert not re.search(rf"\b{words}\b", row["docstring"], re.IGNORECASE), row


def test_the_same_seed_gives_the_same_rows_and_another_seed_other_labels(splits):
    assert build_docstrings(["optuna", "sqlalchemy", "peft"]) == splits
    other = build_docstrings(["optuna", "sqlalchemy", "peft"], seed=1)
    assert other["train"] != splits["train"]


def test_a_package_of_the_users_own_is_parsed_and_never_imported(tmp_path, monkeypatch):
    package = tmp_path / "mine"
    package.mkdir()
    functions = "\n".join(
        f'def act_{i}(value_{i}):\n    """Give back what number {i} of the many actions needs."""\n'
        for i in range(1200)
    )
    (package / "__init__.py").write_text("raise SystemError('imported')\n")
    (package / "actions.py").write_text(functions)
    (package / "broken.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    rows = build_docstrings(["mine"])["train"]
    assert "mine" not in sys.modules
    assert len(rows) > 300
    paths = write({"train": rows}, tmp_path / "out")
    assert [json.loads(line) for line in paths[0].read_text().splitlines()] == rows


def test_rows_come_from_the_cache_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPEFT_CACHE", str(tmp_path))
    first = load_split("test", {"packages": ["sqlalchemy"]})
    (cached,) = tmp_path.iterdir()
    (cached / "test.jsonl").write_text(json.dumps(first[0]) + "\n")
    assert load_split("test", {"packages": ["sqlalchemy"]}).to_list() == [first[0]]


@pytest.mark.parametrize(
    ("split", "options", "said"),
    [
        ("train", {"packages": ["no_such_package"]}, "'no_such_package' is not installed here"),
        ("train", {"packages": ["typer"]}, "too few functions with docstrings"),
        ("train", {"packages": ["numpy.no_such.part"]}, "'numpy.no_such.part' is not installed"),
        ("train", {"packages": ["..numpy"]}, "'..numpy' is not installed"),
        ("train", {"packages": "numpy"}, "import names of packages, got 'numpy': a list"),
        ("train", {"packages": [["numpy"]]}, "import names of packages, got [['numpy']]"),
        ("train", {"packages": []}, "import names of packages, got []"),
        ("train", {"seed": "x"}, "an integer as seed, got 'x'"),
        ("train", {"rows": 3}, "takes packages and seed, got rows"),
        ("dev", {}, "has splits train, validation, test, got 'dev'"),
    ],
)
def test_what_cannot_be_built_is_said(split, options, said, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPEFT_CACHE", str(tmp_path))
    with pytest.raises(AutopeftError, match=re.escape(said)):
        load_split(split, options)
    assert not list(tmp_path.iterdir())


def test_every_package_of_the_default_is_installed():
    assert all(importlib.util.find_spec(package) for package in PACKAGES)
