"""The explorer's random level against random searches."""

import importlib
import sys
from pathlib import Path

import pytest

from autopeft.domain.errors import AutopeftError

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "search"))
chance = importlib.import_module("chance")


def test_the_report_compares_what_was_told_with_what_random_searches_found():
    row = {
        "problem": "a",
        "at": [20],
        "searched": [0.9],
        "told": [0.5],
        "low": [0.3],
        "high": [0.6],
    }
    rows = [{**row, "random": [[0.4], [0.7]]}, {"problem": "a", "silent": "too few"}]
    assert "| a | 20 | 0.900 | 0.500 | 0.550 | -0.050 | 50% |" in chance.report(rows)
    with pytest.raises(AutopeftError, match="needs at least one result"):
        chance.report([])


def test_a_search_is_compared_on_its_own_axes(monkeypatch):
    monkeypatch.setattr(chance, "_RANDOM", 2)
    found = chance.compared(chance.Search("flat", 0), at=(8, 16))
    assert len(found["random"]) == 2
    assert found["low"] <= found["told"] <= found["high"]
    assert 0 < found["searched"][0] <= found["searched"][1] <= 1
