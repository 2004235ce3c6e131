"""Rules of stopping, tried on the record of whole searches."""

import importlib
import sys
from pathlib import Path

import pytest
from fakes import FakeEvaluator, drive
from orchestrator.test_stopping import PromisingSampler, open_session, stopping_spec

from autopeft.domain.errors import AutopeftError
from autopeft.domain.study import StopRule

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "search"))
stopping = importlib.import_module("stopping")


def row(left, curve, problem="layered"):
    told = {"left": left, "gains": [value and value / 10 for value in left]}
    return {"problem": problem, "trials": len(left), **told, "found": curve, "curve": curve}


def test_a_rule_ends_a_recorded_search_where_it_ends_a_real_one():
    sampler = PromisingSampler(silent=(2, 5, 8))
    for patience in (1, 2, 4):
        rule = StopRule(min_gain=0.02, patience=patience)
        stopped, _ = open_session(stopping_spec(rule), sampler=sampler)
        whole, _ = open_session(stopping_spec(None), sampler=sampler)
        drive(stopped, FakeEvaluator())
        drive(whole, FakeEvaluator())
        left = [trial.expected_left for trial in whole.trials]
        assert stopping.stopped_at(left, 0.02, patience) == len(stopped.trials)


def test_the_report_says_where_rules_end_and_what_that_costs():
    left = [None, *[0.1] * 20, *[0.001] * 19]
    rows = [row(left, [0.5] * 30 + [0.625] * 10), row(left, [0.5] * 40)]
    text = stopping.report(rows)
    # The tenth below 0.01 is trial 31; with a patience of 3 it is trial 24, .125 too low in one.
    assert "| 0.01 | 10 | 31 (31 to 31): +0.0, worst +0.0 |" in text
    assert "| 0.01 | 3 | 24 (24 to 24): +6.2, worst +12.5 |" in text
    # A trial's own gain is a tenth of that here.
    assert (
        "| 0.001 | 10 | 31 (31 to 31): +0.0, worst +0.0 |" in text.partition("gain of a trial")[2]
    )
    assert "| layered (40 trials) | 10 / 12 | 0.1 / 12 |" in text


def test_a_report_needs_results(tmp_path):
    with pytest.raises(AutopeftError, match="got none"):
        stopping.report([])
    assert stopping.main(["report", str(tmp_path / "none.jsonl")]) == 2


def test_a_run_records_what_it_lacks_and_nothing_twice(tmp_path, monkeypatch):
    searched = []

    def search(landscape, name, *, seed, trials):
        searched.append(seed)
        return outcome_of(trials)

    def outcome_of(trials):
        curve = tuple([0.5] * trials)
        return stopping.simulate.Outcome(
            curve=curve,
            found=curve,
            modelled=curve,
            gains=(None,) * trials,
            left=(0.25,) * trials,
            cpu_s=(),
            seconds=0.0,
            ended=False,
        )

    monkeypatch.setattr(stopping.simulate, "start", lambda: None)
    monkeypatch.setattr(stopping.simulate, "search", search)
    out = tmp_path / "results.jsonl"
    for seeds in ("1", "2"):
        given = [
            "run",
            "--problems",
            "lora_only",
            "--seeds",
            seeds,
            "--trials",
            "4",
            "--out",
            str(out),
        ]
        assert stopping.main(given) == 0
    assert searched == [0, 1]
    assert stopping.main(["report", str(out)]) == 0
