"""Other tools in the benchmark: each gets the same space, and what it is told is what was found."""

import importlib
import importlib.util
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autopeft.domain.errors import AutopeftError
from autopeft.domain.space import Bits, Branch, Space

FOLDER = Path(__file__).parents[2] / "benchmarks" / "search"
sys.path.append(str(FOLDER))
compare = importlib.import_module("compare")
flat = importlib.import_module("flat")
paired = importlib.import_module("paired")
pictures = importlib.import_module("pictures")
problems = importlib.import_module("problems")
rivals = importlib.import_module("rivals")
simulate = importlib.import_module("simulate")
standard = importlib.import_module("standard")
against = importlib.import_module("against")
lines = importlib.import_module("lines")
summary = importlib.import_module("summary")
usual = importlib.import_module("usual")

NEEDS = {
    "ax.default": "ax",
    "smac.ParEGO": "smac",
    "syne_tune.EHVI": "syne_tune",
    "syne_tune.MOREA": "syne_tune",
}


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch):
    """The real one loads BoTorch."""
    monkeypatch.setattr(simulate, "start", lambda: None)


def searched(name: str, trials: int, problem: str = "layered", seed: int = 0):
    """The trials of a search of a sampler by its name."""
    landscape = problems.make(problem, seed)
    if name.endswith(usual.SUFFIX):
        landscape = usual.restricted(landscape)
    sampler = simulate.sampler_of(name, trials)
    return simulate.driven(landscape, sampler, seed=seed, trials=trials, modelled=False)[1]


# -- the flat space --------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("problem", ["layered", "lora_only"])
def test_a_point_is_the_same_after_a_tool_had_it(problem, shared):
    branches, rng = problems.make(problem, 0).problem.space, np.random.default_rng(0)
    space = flat.FlatSpace(branches, shared=shared)
    names = {parameter.name: parameter for parameter in space.parameters}
    for _ in range(50):
        point = branches.draw(rng)
        values = space.values(point)
        assert space.point(values) == point
        for name, value in values.items():
            assert names[name].distribution._contains(
                names[name].distribution.to_internal_repr(value)
            )
        active = {
            name
            for name, parameter in names.items()
            if all(values.get(other) in wanted for other, wanted in parameter.given)
        }
        assert active == set(values)


def test_what_methods_have_alike_is_one_parameter_where_it_is_shared():
    branches = problems.make("layered", 0).problem.space
    apart, shared = (flat.FlatSpace(branches, shared=s).parameters for s in (False, True))
    rates = [[p for p in found if p.name.endswith("learning_rate")] for found in (apart, shared)]
    assert [len(found) for found in rates] == [len(branches.branches), 1]
    assert not rates[1][0].given, "it is there in every branch"
    (size,) = (p for p in shared if p.name.endswith("modules[0].bottleneck_size"))
    ((_, those),) = size.given
    assert set(those) == {b.name for b in branches.branches if "adapter" in b.name}


def test_only_a_flat_space_can_be_shared():
    with pytest.raises(AutopeftError, match="shared and apart are of samplers that see a flat"):
        simulate.sampler_of("random shared", 10)


# -- a tool behind the port ------------------------------------------------------------------


class Stubborn:
    """A tool that proposes its first proposals again and again."""

    def __init__(self, points):
        self.points, self.asked, self.told = points, 0, []

    def ask(self):
        self.asked += 1
        return self.asked, self.points[min(self.asked, len(self.points)) - 1]

    def tell(self, handle, values, scores):
        self.told.append((handle, scores))


def test_a_tool_is_told_every_result_once_and_what_it_repeats_again():
    problem, rng = problems.make("lora_only", 0).problem, np.random.default_rng(1)
    space = flat.FlatSpace(problem.space, shared=False)
    points = [space.values(problem.space.draw(rng)) for _ in range(2)]
    tool = Stubborn([points[0], points[0], points[1]])
    sampler = rivals.Rival("stubborn", lambda *_: tool, 4)
    landscape = problems.make("lora_only", 0)
    _, trials = simulate.driven(landscape, sampler, seed=0, trials=4, modelled=False)
    handles = [handle for handle, _ in tool.told]
    assert handles[:3] == [1, 2, 3], "what it asked first, its copy of that, then the next one"
    assert tool.told[0][1] == tool.told[1][1] != tool.told[2][1]
    assert None in handles, "what was drawn in its place is told too"
    assert "found nothing new" in trials[2].why
    assert len({trial.configuration.key for trial in trials}) == 4


def test_a_tool_that_is_not_installed_is_a_message(monkeypatch):
    monkeypatch.setitem(sys.modules, "smac", None)
    with pytest.raises(AutopeftError, match="needs smac, which is not installed"):
        simulate.sampler_of("smac.ParEGO", 10)


def two_branches():
    """Sizes and learning rates of two methods; the rest of the layered problem is drawn once."""
    landscape = problems.make("layered", 0)
    problem, rng, free, fixed = landscape.problem, np.random.default_rng(0), [], {}
    for name, size in (("lora", "r"), ("serial_adapter", "bottleneck_size")):
        parameters = problem.space[name].parameters
        tree = {
            p.name: p.variable
            for p in parameters
            if p.name in (f"modules[0].{size}", "training.learning_rate")
        }
        free.append(Branch(name, tree))
        fixed[name] = {p.name: p.variable.draw(rng) for p in parameters if p.name not in tree}

    def configure(point):
        return problem.configure({**point, **fixed[point["branch"]]})

    offered = replace(problem, space=Space(tuple(free)), configure=configure)
    return replace(landscape, problem=offered)


@pytest.mark.parametrize("how", ["shared", "apart"])
@pytest.mark.parametrize("name", rivals.NAMES)
def test_every_tool_searches_a_conditional_space(name, how):
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed: benchmarks/README.md says how")
    sampler = simulate.sampler_of(f"{name} {how}", 8)
    _, trials = simulate.driven(two_branches(), sampler, seed=0, trials=8, modelled=False)
    assert len({trial.configuration.key for trial in trials}) == 8
    by_tool = [trial for trial in trials if name in trial.why and "nothing new" not in trial.why]
    assert len(by_tool) >= 6
    assert len({trial.configuration.branch for trial in trials}) > 1


@pytest.mark.parametrize("name", [name for name in rivals.NAMES if name.startswith("syne_tune")])
def test_syne_tunes_searches_repeat(name):
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed: benchmarks/README.md says how")

    def tried():
        sampler = simulate.sampler_of(f"{name} shared", 6)
        _, trials = simulate.driven(two_branches(), sampler, seed=0, trials=6, modelled=False)
        return [trial.configuration.key for trial in trials]

    assert tried() == tried()


def test_autopefts_design_is_at_most_half_of_the_trials():
    sampler = simulate.sampler_of("botorch.AutoPEFT", 30)
    assert sampler.budget == 30


# -- plainer searches ------------------------------------------------------------------------


def test_random_by_size_has_as_many_small_adapters_as_large_ones():
    def thirds(name):
        sizes = np.log([t.known["adapter_params"] for t in searched(name, 60)])
        return np.histogram(sizes, bins=3)[0].min() / len(sizes)

    assert thirds("random by size") > max(0.2, thirds("random"))


def test_coin_flips_leave_half_of_the_layers_on():
    shares = []
    for trial in searched("random by coin flips", 40):
        space = problems.make("layered", 0).problem.space
        for parameter in space[trial.point["branch"]].parameters:
            if isinstance(parameter.variable, Bits):
                shares.append(np.mean(trial.point[parameter.name]))
    assert np.std(shares) < 0.15, "of 24 coins: 0.10; of a uniform number of layers: 0.28"


@pytest.mark.parametrize("name", ["random", "optuna.TPESampler"])
def test_rank_and_rate_alone_are_searched_in_the_usual_lora(name):
    trials = searched(name + usual.SUFFIX, 6)
    for trial in trials:
        (module,) = trial.configuration.architecture.modules
        assert module.peft_type == "LORA"
        assert module.fields.get("lora_alpha", 8) == 2 * module.size, "8 is PEFT's default"
        assert module.layers == tuple(range(24))
        assert {target.rpartition(".")[2] for target in module.targets} == {"query", "value"}
        assert trial.configuration.architecture.allocation[0] == "uniform"
    assert len({module.size for t in trials for module in t.configuration.architecture.modules}) > 1
    assert len({trial.configuration.recipe["learning_rate"] for trial in trials}) > 1


def test_a_table_of_methods_has_no_rank_to_restrict_to():
    landscape = problems.make("lora_only", 0)
    problem = landscape.problem
    space = Space((replace(problem.space.branches[0], name="other"),))
    other = replace(landscape, problem=replace(problem, space=space))
    with pytest.raises(AutopeftError, match="has no branch lora: leave over rank and rate out"):
        usual.restricted(other)


# -- what is kept for the end ----------------------------------------------------------------


def test_what_is_kept_for_the_end_is_run_by_its_own_option_alone(tmp_path, capsys):
    kept = set(problems.seeds(None, final=True))
    assert len(kept) == 10
    assert not kept & set(problems.seeds(200, final=False))
    assert set(problems.TUNED) <= set(problems.seeds(200, final=False))
    with pytest.raises(AutopeftError, match="at most 200 before those that are kept"):
        problems.seeds(201, final=False)
    out = tmp_path / "final.jsonl"
    arguments = ["run", "--final", "--problems", "lora_only", "--samplers", "random"]
    assert compare.main([*arguments, "--seeds", "1", "--trials", "3", "--out", str(out)]) == 0
    assert [json.loads(line)["seed"] for line in out.read_text().splitlines()] == [200]


# -- differences and pictures ----------------------------------------------------------------


def row(sampler, seed, curve, trials=None):
    search = summary.Search("p", sampler, seed, 1, trials or len(curve))
    return {**search._asdict(), "curve": curve, "cpu_s": 0.1, "cpu_s_end": 0.2}


def test_an_interval_holds_the_mean_and_says_when_all_of_it_is_below():
    rng = np.random.default_rng(0)
    differences = rng.normal(-0.1, 0.02, 10)
    low, high = paired.interval(differences)
    assert low < differences.mean() < high < 0
    assert paired.worse(differences)
    assert not paired.worse(-differences)
    assert not paired.worse(np.array([-0.1, 0.2, -0.1, 0.1]))
    assert paired.interval(differences[:2]) is None
    assert paired.told(np.array([0.25])) == "+0.250"
    covered = 0
    for _ in range(200):
        low, high = paired.interval(rng.normal(0.0, 1.0, 30))
        covered += low < 0.0 < high
    assert 170 <= covered <= 200


def test_the_report_says_where_the_engine_is_behind():
    rows = []
    for seed in range(4):
        base = 0.01 * seed
        rows.append(row("autopeft", seed, [0.2 + base] * 8 + [0.9 + base] * 4))
        rows.append(row("random", seed, [0.3 + base] * 8 + [0.5 + base] * 4))
    rows.append(row("optuna.TPESampler", 0, [0.1] * 12))
    lines = summary.report(rows).splitlines()
    assert "| over | seeds | 8 | 12 |" in lines
    assert lines[-1] == ("| random | 4 | -0.100 [-0.100, -0.100] ! | +0.400 [+0.400, +0.400] |")
    assert lines[-2] == "| optuna.TPESampler | 1 | +0.100 | +0.800 |"


def test_the_first_trials_of_a_longer_search_are_compared_with_a_shorter_one():
    long = row("a", 0, [0.1 * n for n in range(1, 13)])
    short = row("b", 0, [0.5] * 8)
    report = summary.report(summary.first([long, short], 8))
    assert "### p: 8 trials, 1 worker, 1 seed" in report
    assert "| a | 0.800 |" in report
    own = row("a", 0, [0.2] * 8)
    assert "| a | 0.200 |" in summary.report(summary.first([long, own, short], 8))
    assert "| a | 0.200 |" in summary.report(summary.first([own, long, short], 8))
    with pytest.raises(AutopeftError, match="no search has 13 trials: lower --trials"):
        summary.first([long], 13)


def test_each_other_sampler_is_compared_on_all_the_seeds_that_it_shares_with_the_search():
    rising = [0.1 * n for n in range(1, 11)] + [1.0] * 10
    rows = [row("autopeft", seed, rising) for seed in range(3)]
    rows += [row("slow", 0, [0.5] * 19 + [0.8]), row("fast", 1, [0.25] * 20)]
    rows += [row("fast", 2, [0.35] * 20), row("ended", 0, [0.5] * 8), row("elsewhere", 7, [1.0])]
    rows.append({**row("autopeft", 0, [0.0] * 20), "workers": 8})
    leads, needs, pairs = (part.splitlines()[2:] for part in against.report(rows).split("### ")[1:])
    assert leads[0] == needs[0] == "| sampler | p |"
    assert leads[2:-1] == ["| ended |  (1 seed) |", "| fast | +.70 |", "| slow | +.20 (1 seed) |"]
    assert needs[2:-1] == [
        "| ended | not run to the end (1 seed) |",
        "| fast | 3, 3 |",
        "| slow | 8, 8 (1 seed) |",
    ]
    assert pairs[0].startswith("| problem | sampler (seeds) | 8 trials | 12 | 20 | 60 |")
    rest = "|  |  |  | 0.1 (0.2) |"
    assert pairs[2:] == [
        f"| p | slow (1) | 0.500 | 0.500 | 0.800 {rest} +0.200 | 8 | 8 |",
        f"|  | fast (2) | 0.300 | 0.300 | 0.300 {rest} +0.700 | 3 | 3 |",
        f"|  | ended (1) | 0.500 |  |  {rest}  |  |  |",
    ]
    shorter = against.report([row("autopeft", 0, [0.2] * 8 + [0.6] * 4), row("b", 0, [0.6] * 12)])
    assert shorter.splitlines()[-1].endswith("| 9 | 9 |")
    for few in ([], rows[:3], rows[3:]):
        with pytest.raises(AutopeftError, match="--against needs searches of autopeft"):
            against.report(few)


def test_a_lead_that_the_interval_does_not_tell_from_nothing_is_in_brackets():
    rows = [row("autopeft", seed, [0.5] * 20) for seed in range(4)]
    rows += [row("behind", seed, [0.4 + 0.04 * (seed % 2)] * 20) for seed in range(4)]
    rows += [row("level", seed, [0.39 + 0.2 * (seed % 2)] * 20) for seed in range(4)]
    rows += [row("ahead", seed, [0.6] * 20) for seed in range(4)]
    told = against.report(rows).splitlines()
    assert told[4:7] == ["| ahead | -.10 |", "| behind | +.08 |", "| level | (+.01) |"]


def test_the_tables_of_the_others_are_those_of_the_recorded_searches():
    rows = [*lines.read(FOLDER / "final.jsonl"), *lines.read(FOLDER / "final_slow.jsonl")]
    told = against.report(rows)
    assert (FOLDER / "others.md").read_text(encoding="utf-8").endswith(f"{told}\n")
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for part in told.split("\n\n")[1:4:2]:
        assert part in readme


def test_a_picture_is_drawn_for_every_problem(tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    rows = [
        row(sampler, seed, [0.5 + 0.02 * n + 0.01 * seed for n in range(12)])
        for sampler, seed in itertools.product(("autopeft", "random"), range(3))
    ]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert pictures.main([str(file), "--trials", "12", "--out", str(tmp_path / "images")]) == 0
    (picture,) = (tmp_path / "images").iterdir()
    assert picture.name == "search_p.png"
    assert 5_000 < picture.stat().st_size < 200_000
    assert pictures.main([str(file), "--trials", "13", "--out", str(tmp_path)]) == 2
    assert "lower --trials" in capsys.readouterr().err


def test_a_picture_has_the_seeds_that_all_have_unless_told_otherwise():
    samplers = {
        "a": {0: row("a", 0, [0.1] * 4), 1: row("a", 1, [0.2] * 4)},
        "b": {1: row("b", 1, [0.3] * 2, trials=4)},
    }
    shared = pictures.curves(samplers, most_seeds=False)
    assert {name: hv.shape for name, hv in shared.items()} == {"a": (1, 4), "b": (1, 4)}
    assert len(pictures.curves(samplers, most_seeds=True)["a"]) == 2
    with pytest.raises(AutopeftError, match="no seed that all samplers have"):
        pictures.curves({**samplers, "c": {5: row("c", 5, [0.3] * 4)}}, most_seeds=False)


# -- BoTorch's functions ---------------------------------------------------------------------


def test_the_known_front_of_a_test_function_covers_nearly_all_of_it():
    function = standard.function_of("ZDT1")
    front = [standard.evaluated(function, [x, 0, 0, 0, 0, 0])[0] for x in np.linspace(0, 1, 400)]
    best = standard.hypervolume(np.array(front), function.ref_point.numpy())
    assert best / function._max_hv == pytest.approx(1.0, abs=0.01)


def test_what_breaks_a_constraint_does_not_count():
    function = standard.function_of("C2DTLZ2")
    rng = np.random.default_rng(0)
    slacks = [standard.evaluated(function, rng.random(6).tolist())[1] for _ in range(60)]
    assert min(slacks) <= 0 < max(slacks)
    assert standard.evaluated(standard.function_of("ZDT1"), [0.5] * 6)[1] is None


def test_the_engine_searches_a_test_function_as_optunas_sampler(tmp_path, capsys):
    out = tmp_path / "standard.jsonl"
    arguments = ["run", "--problems", "C2DTLZ2", "--seeds", "1", "--trials", "12"]
    arguments += ["--samplers", "autopeft.AutoPEFTSampler", "optuna.TPESampler", "--out", str(out)]
    assert standard.main(arguments) == 0
    assert standard.main(arguments) == 0, "it is there"
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 2
    assert all(0 <= a <= b <= 1 for r in rows for a, b in itertools.pairwise(r["curve"]))
    assert "### C2DTLZ2: 12 trials" in summary.report(rows)
    assert standard.main([*arguments[:-2], "--samplers", "TPE", "--out", str(out)]) == 2
    assert "--samplers takes autopeft.AutoPEFTSampler" in capsys.readouterr().err
