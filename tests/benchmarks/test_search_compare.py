"""The search benchmark's harness: its landscapes know their optimum, its searches repeat."""

import importlib
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import bert_shape, fake_problem, study_spec

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.errors import AutopeftError
from autopeft.domain.objective import Objective
from autopeft.domain.space import Choice
from autopeft.domain.trial import State, Trial
from autopeft.search import make_sampler

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "search"))
compare = importlib.import_module("compare")
hidden = importlib.import_module("hidden")
landscapes = importlib.import_module("landscapes")
layered_space = importlib.import_module("layered_space")
problems = importlib.import_module("problems")
recorded = importlib.import_module("recorded")
rows = importlib.import_module("rows")
simulate = importlib.import_module("simulate")
suite = importlib.import_module("suite")
summary = importlib.import_module("summary")

OBJECTIVES = (
    Objective("accuracy", "maximize"),
    Objective("adapter_params", "minimize", scale="log"),
)


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch):
    """The real one loads BoTorch, which no test here needs."""
    monkeypatch.setattr(simulate, "start", lambda: None)


def tiny(noise: float = 0.0, count: int = 12):
    """A table whose front is all of it: accuracy grows with rank."""
    shape = bert_shape()
    target = shape.modules[0].name
    rows = {}
    for rank in range(1, count + 1):
        module = Module("LORA", {"r": rank}, (target,), (0,))
        rows[f"rank {rank}"] = landscapes.Row(
            configuration=Configuration("table", Architecture((module,)), {"learning_rate": 1e-3}),
            known={"adapter_params": 128.0 * rank},
            runs=[{"accuracy": 0.5 + 0.03 * rank + sign * noise} for sign in (-1, 1)],
            stderr={"accuracy": 0.01},
            seconds=10.0 * rank,
        )
    reference = {"accuracy": 0.5, "adapter_params": 128.0 * (count + 1)}
    return landscapes.over_rows("tiny", rows, OBJECTIVES, shape, reference)


def drawn(landscape, count: int, seed: int = 0) -> list[Trial]:
    problem, rng, trials = landscape.problem, np.random.default_rng(seed), []
    while len(trials) < count:
        point = problem.space.draw(rng)
        if (configuration := problem.admissible(point)) is not None:
            known = problem.known(configuration.architecture)
            trials.append(Trial(len(trials), configuration, 0, point, known))
    return trials


# -- landscapes ------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", hidden.VARIANTS)
def test_no_random_configuration_is_outside_the_front_that_is_called_the_best(variant):
    for seed in range(2):
        landscape = problems.make(variant, seed)
        assert landscape.best_hypervolume > 0
        reached = landscape.share(landscape.scores(drawn(landscape, 60)))
        assert 0 < reached < 1


def test_the_best_rate_of_every_rank_is_the_whole_front_of_lora_only():
    landscape, instance = problems.make("lora_only", 3), hidden.draw("lora_only", 3)
    trials = []
    for position, rank in enumerate(layered_space.sizes("LORA")):
        rate = instance.best_rate(np.array([0]), np.array([float(rank)]), np.array([2.0]))
        point = {
            "branch": "lora",
            "modules[0].r": position,
            "training.learning_rate": 10 ** float(rate[0]),
        }
        configuration = landscape.problem.configure(point)
        known = landscape.problem.known(configuration.architecture)
        trials.append(Trial(position, configuration, 0, point, known))
    assert landscape.share(landscape.scores(trials)) == pytest.approx(1.0)


def test_the_best_cover_of_every_number_of_layers_is_that_of_all_subsets():
    rng = np.random.default_rng(0)
    w, redundancy = rng.random(8), 0.4
    best = np.zeros(9)
    for bits in itertools.product((0, 1), repeat=8):
        on = w * bits
        cover = on.sum() - redundancy * np.minimum(on[1:], on[:-1]).sum()
        best[sum(bits)] = max(best[sum(bits)], cover)
    assert hidden.best_covers(w, redundancy) == pytest.approx(best)


def test_the_parameters_of_a_configuration_follow_from_how_many_layers_are_on():
    """So the front that is computed by number of layers is that of real configurations."""
    for trial in drawn(problems.make("layered", 0), 80):
        (module,) = trial.configuration.architecture.modules
        allocation = hidden.ALLOCATIONS.index(trial.configuration.architecture.allocation[0])
        size = layered_space.sizes(module.peft_type).index(module.size or 1)
        subset = sum(on << i for i, on in enumerate(trial.point["modules[0].target_modules"]))
        told = layered_space.parameters(module.peft_type)[allocation, size, subset]
        assert trial.known["adapter_params"] == told[len(module.layers)]
        assert trial.known["adapter_params"] <= layered_space.largest()


def test_noise_follows_the_seed_and_the_configuration_alone():
    landscape = problems.make("layered", 0)
    first, second = (trial.configuration for trial in drawn(landscape, 2))
    assert landscape.observe(first, 7) == landscape.observe(first, 7)
    shown = [landscape.observe(first, seed)[0]["accuracy"] for seed in range(200)]
    assert np.mean(shown) == pytest.approx(landscape.true(first)["accuracy"], abs=0.003)
    assert np.std(shown) == pytest.approx(landscape.observe(first, 0)[1]["accuracy"], rel=0.2)
    assert landscape.seconds(first) != landscape.seconds(second)


def test_a_table_shows_one_of_the_runs_of_a_row_and_its_mean_is_true():
    landscape = tiny(noise=0.02)
    (trial,) = drawn(landscape, 1)
    mean = landscape.true(trial.configuration)["accuracy"]
    shown = {landscape.observe(trial.configuration, seed)[0]["accuracy"] for seed in range(20)}
    assert sorted(shown) == pytest.approx([mean - 0.02, mean + 0.02])


def test_a_front_below_its_reference_is_refused():
    with pytest.raises(AutopeftError, match="needs a front above its reference"):
        replace(tiny(), best_hypervolume=0.0)


def test_the_suite_is_one_batch_of_methods_with_their_own_sizes(tmp_path):
    if not suite.RUNS.is_file():
        with pytest.raises(AutopeftError, match="leave problem suite out"):
            suite.landscape(tmp_path / "none.jsonl")
        pytest.skip("the suite's runs are not here")
    landscape = suite.landscape()
    trials = drawn(landscape, 400)
    assert len({trial.configuration.key for trial in trials}) == 40
    assert landscape.share(landscape.scores(trials)) == pytest.approx(1.0)


def test_a_recorded_table_admits_what_was_measured_and_nothing_else():
    branches = {
        "lora": {
            "modules": [
                {"peft_type": "LORA", "r": Choice((1, 2, 4, 8, 9)), "target_modules": ["key"]}
            ],
            "training": {"learning_rate": 1e-3},
        }
    }
    spec = study_spec(branches=branches, baselines={})
    problem = fake_problem(spec)
    configurations = [problem.configure({"branch": "lora", "modules[0].r": i}) for i in range(5)]
    runs = [
        {
            "key": configuration.key,
            "seed": seed,
            "point": {},
            "configuration": configuration.document(),
            "known": problem.known(configuration.architecture),
            "rungs": []
            if i == 1
            else [
                {
                    "step": 9,
                    "metrics": {"accuracy": 0.6 + 0.1 * i + 0.02 * seed},
                    "stderr": {"accuracy": 0.01},
                    "seconds": 2.0,
                }
            ],
            "failure": {"reason": "not_finite", "message": "nan"} if i == 1 else None,
            "ended": 0.0,
        }
        for seed, part in ((0, configurations[:4]), (1, configurations[2:3]))
        for i, configuration in enumerate(configurations)
        if configuration in part
    ]
    landscape = recorded.over_table("t", rows.of_record(runs, {"rungs": None}), problem)
    admitted = {landscape.problem.admissible(t.point).key for t in drawn(landscape, 30)}
    assert admitted == {configurations[i].key for i in (0, 2, 3)}
    assert landscape.true(configurations[2]) == {"accuracy": pytest.approx(0.81)}
    assert landscape.seconds(configurations[0]) == 2.0
    assert simulate.search(landscape, "random", seed=0, trials=9).curve[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", recorded.NAMES)
def test_a_table_is_replayed_without_the_data_that_it_was_recorded_with(
    name, tmp_path, monkeypatch
):
    space = Path(recorded.__file__).with_name(f"{name}.yaml")
    copied = tmp_path / "benchmarks" / "search"
    (copied / "tables").mkdir(parents=True)
    (copied / f"{name}.yaml").write_text(space.read_text())
    (copied / "tables" / f"{name}.parquet").symlink_to(space.parent / "tables" / f"{name}.parquet")
    monkeypatch.setattr(recorded, "_FOLDER", copied)
    landscape = recorded.landscape(name)
    told = {row.key: row.known for row in rows.read(copied / "tables" / f"{name}.parquet").rows}
    for trial in drawn(landscape, 20):
        params = told[trial.configuration.key]["adapter_params"]
        assert landscape.problem.known(trial.configuration.architecture)["adapter_params"] == params


# -- searches --------------------------------------------------------------------------------


def test_with_perfect_knowledge_hypervolume_never_falls_and_ends_at_one():
    for seed in range(3):
        outcome = simulate.search(tiny(), "random", seed=seed, trials=30)
        curve = outcome.curve
        assert outcome.found == curve
        assert len(curve) == 12, "the table is exhausted"
        assert all(0 <= a <= b <= 1 + 1e-9 for a, b in itertools.pairwise(curve))
        assert curve[-1] == pytest.approx(1.0)


def test_noise_can_hide_what_was_found_and_never_adds_to_it():
    outcome = simulate.search(problems.make("layered", 0), "random", seed=0, trials=40)
    assert all(chosen <= found for chosen, found in zip(outcome.curve, outcome.found, strict=True))
    assert all(a <= b for a, b in itertools.pairwise(outcome.found))
    assert outcome.curve != outcome.found


def test_the_same_seed_gives_the_same_search_and_another_another():
    first, again, other = (
        simulate.search(problems.make("layered", 0), "random", seed=seed, trials=8).curve
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_another_seed_shows_another_run_of_the_same_configuration():
    landscape = problems.make("unstable", 0)
    (trial,) = drawn(landscape, 1)
    shown = [landscape.observe(trial.configuration, seed)[0]["accuracy"] for seed in range(400)]
    assert np.std(shown) == pytest.approx(0.045, rel=0.15)
    assert landscape.observe(trial.configuration, 0)[1] == {"accuracy": 0.015}


def test_a_name_says_how_many_seeds_a_configuration_may_have():
    outcome = simulate.search(problems.make("unstable", 0), "autopeft:2", seed=0, trials=10)
    assert len(outcome.modelled) == len(outcome.curve) == 10
    assert simulate.sampler_of("autopeft:2", 10).seeds == 2
    for wrong in ("random:2", "autopeft:none", "autopeft:0"):
        with pytest.raises(AutopeftError, match="only autopeft takes seeds, as autopeft:3"):
            simulate.sampler_of(wrong, 10)


def test_several_workers_are_faster_and_their_trials_are_pending(monkeypatch):
    running = []

    class Watching:
        def suggest(self, problem, history, *, seed):
            running.append(sum(trial.state is State.RUNNING for trial in history))
            return make_sampler("random", {}).suggest(problem, history, seed=seed)

    alone = simulate.search(tiny(), "random", seed=0, trials=9)
    monkeypatch.setattr(simulate, "make_sampler", lambda name, options: Watching())
    together = simulate.search(tiny(), "random", seed=0, trials=9, workers=3)
    assert max(running) == 2
    assert len(together.curve) == 9
    assert together.seconds < alone.seconds / 2


# -- the command -----------------------------------------------------------------------------


def test_what_was_run_is_reported_and_not_run_again(tmp_path, capsys):
    out = tmp_path / "deep" / "results.jsonl"
    arguments = ["run", "--problems", "lora_only", "--samplers", "random", "optuna.RandomSampler"]
    arguments += ["--seeds", "2", "--trials", "12", "--workers", "2", "--out", str(out)]
    assert compare.main(arguments) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 4
    assert all(0 <= value <= 1 for row in rows for value in row["curve"])
    assert set(rows[0]["hypervolume"]) == {"8", "12"}
    assert "4 searches, 4 to run" in capsys.readouterr().err
    assert compare.main(arguments) == 0
    assert "4 searches, 0 to run" in capsys.readouterr().err
    assert compare.main(["report", str(out)]) == 0
    table = capsys.readouterr().out
    assert "### lora_only: 12 trials, 2 workers, 2 seeds" in table
    assert compare.main(["report", str(out), "--found"]) == 0
    assert capsys.readouterr().out != table
    assert "| sampler | 8 | 12 | CPU s a suggestion (at the end) |" in table


def test_a_search_that_takes_too_long_is_one_of_the_trials_that_it_has():
    search = summary.Search("lora_only", "random", 0, workers=1, trials=12)
    row = compare.searched(search, minutes=0)
    assert (row["trials"], row["told"]) == (1, 1)
    whole = compare.searched(search)
    assert (whole["trials"], whole["told"]) == (12, 12)
    assert row["curve"] == whole["curve"][:1]


def test_trials_to_a_level_are_counted_on_the_mean_curve():
    def row(sampler, curve):
        search = summary.Search("p", sampler, 0, 1, 8)
        return {**search._asdict(), "curve": curve, "cpu_s": 0.1, "cpu_s_end": 0.2}

    rising = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    table = summary.report([row("slow", [v / 2 for v in rising]), row("fast", rising)])
    fast, slow = table.splitlines()[-2:]
    assert fast == "| fast | 0.800 | 0.100 (0.200) | 4 | +0.400 |"
    assert slow == "| slow | 0.400 | 0.100 (0.200) | > 8 | -0.400 |"


def test_the_median_of_trials_to_a_level_is_told_when_it_is_asked_for():
    def row(seed, curve):
        search = summary.Search("p", "a", seed, 1, 8)
        return {**search._asdict(), "curve": curve, "cpu_s": 0.1, "cpu_s_end": 0.2}

    rows = [row(0, [0.1, 0.9]), row(1, [0.1, 0.1, 0.1, 0.9]), row(2, [0.9, 0.9])]
    assert "| a | 0.900 ± 0.000 | 2 | 0.100" in summary.report(rows, level=0.9)
    assert "| median trials to 0.95 |" in summary.report(rows, level=0.95)
    assert "| > 8 |" in summary.report(rows, level=0.95)


def test_only_seeds_that_every_sampler_has_are_compared():
    def row(sampler, seed):
        search = summary.Search("p", sampler, seed, 1, 8)
        return {**search._asdict(), "curve": [0.5], "cpu_s": 0.1, "cpu_s_end": 0.2}

    table = summary.report([row("a", 0), row("a", 1), row("b", 1)])
    assert "8 trials, 1 worker, 1 seed" in table
    assert "1 seed that not all samplers have left out." in table


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--problems": "layerd"}, "--problems takes layered, shuffled"),
        ({"--samplers": "autopef"}, "got 'autopef'"),
        ({"--out": "/proc/none/results.jsonl"}, "/proc/none"),
    ],
)
def test_a_mistake_is_one_message(tmp_path, capsys, changed, message):
    given = {"--problems": "flat", "--samplers": "random", "--out": str(tmp_path / "r.jsonl")}
    arguments = [word for pair in {**given, **changed}.items() for word in pair]
    assert compare.main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_results_that_are_not_there_are_a_message(tmp_path, capsys):
    assert compare.main(["report", str(tmp_path / "none.jsonl")]) == 2
    assert "got no file" in capsys.readouterr().err


def test_a_problem_whose_data_is_missing_is_skipped_with_a_message(tmp_path, capsys, monkeypatch):
    def missing():
        raise AutopeftError("the suite's runs are not here: leave problem suite out")

    monkeypatch.setattr(suite, "landscape", missing)
    problems.make.cache_clear()
    arguments = ["run", "--problems", "suite", "--samplers", "random", "--seeds", "1"]
    assert compare.main([*arguments, "--out", str(tmp_path / "r.jsonl")]) == 0
    assert "skipped: the suite's runs are not here" in capsys.readouterr().err
