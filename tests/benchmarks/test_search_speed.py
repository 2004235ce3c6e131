"""Timing suggestions."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from autopeft.domain.errors import AutopeftError

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "search"))
speed = importlib.import_module("speed")


def timed(out, *, sizes):
    arguments = ["--problems", "lora_only", "--samplers", "random", "--window", "3"]
    return speed.main(["run", *arguments, "--sizes", *sizes, "--out", str(out)])


def test_every_proposal_of_the_window_is_timed_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "_SEARCHED", 4)
    out = tmp_path / "speed.jsonl"
    for _ in range(2):
        assert timed(out, sizes=("2", "8+4")) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["size"], len(row["ms"])) for row in rows] == [("2", 2), ("8+4", 3)]
    assert all(0 <= ms < 1000 for row in rows for ms in row["ms"])


def test_the_report_holds_medians_and_ninth_deciles():
    rows = [
        {"problem": "sst2", "sampler": "a", "size": size, "ms": ms}
        for size, ms in (("20", [1.0, 2.0, 3.0]), ("200", [10.0] * 9 + [100.0] * 2))
    ]
    assert "| sst2 | a | 2 (3) | 10 (100) |" in speed.report(rows)
    with pytest.raises(AutopeftError, match="report needs at least one result, got none"):
        speed.report([])


def test_a_size_that_is_no_number_is_refused(tmp_path, capsys):
    assert timed(tmp_path / "speed.jsonl", sizes=("many",)) == 2
    assert "--sizes takes 200 or 500+16, got 'many'" in capsys.readouterr().err
