"""Training code of the user's own, through the command line: it works, and it fails in many ways.

What is asserted here is what docs/own-training-code.md shows.
"""

import json
import sys

import pytest
from own_code import FINE, at_home, autopeft, write

SEARCH = ("search", "space.yaml", "--local")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    at_home(monkeypatch, tmp_path)
    return tmp_path


def test_a_search_over_free_parameters_has_a_front_and_every_verb_answers(
    folder, monkeypatch, capsys
):
    write(folder)
    assert autopeft(monkeypatch, "validate", "space.yaml") == 0
    assert "branches main, no model, evaluator my_package.train:evaluate" in capsys.readouterr().out
    assert autopeft(monkeypatch, "plan", "space.yaml") == 0
    plan = capsys.readouterr().out
    assert "rank, lr, targets" in plan
    assert "8 trials, 1 at a time" in plan
    assert autopeft(monkeypatch, *SEARCH, "--json") == 0
    front = json.loads(capsys.readouterr().out)["front"]
    assert front
    for row in front:
        assert row["metrics"]["extra"] == 3  # undeclared, and kept
        assert row["stderr"] == {"rouge": 0.01}
        assert row["configuration"]["parameters"]["rank"] == row["objectives"]["size"]
    assert autopeft(monkeypatch, "front", "free") == 0
    assert "rank=" in capsys.readouterr().out
    assert autopeft(monkeypatch, "best", "free", "--prefer", "rouge") == 0
    assert "highest rouge" in capsys.readouterr().out
    assert autopeft(monkeypatch, "export", "free", "--to", "out") == 2
    said = capsys.readouterr().err
    assert "export writes PEFT modules" in said
    assert "of your own training code has none" in said
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("sampler", "text"),
    [
        (
            "optuna.NoSuchSampler",
            "search.sampler takes a known sampler, got 'optuna.NoSuchSampler'",
        ),
        ("{name: random, options: {x: 1}}", "sampler random takes no options, got 'x'"),
        ("{name: autopeft, options: {initial: 0}}", "initial takes a whole number from 1, got 0"),
        ("{name: optuna.TPESampler, options: {gammas: 1}}", "optuna.TPESampler does not take"),
        ("optuna.BruteForceSampler", "optuna.BruteForceSampler cannot propose a trial"),
    ],
)
def test_a_sampler_that_cannot_search_is_told_before_there_is_a_study(
    folder, monkeypatch, capsys, sampler, text
):
    write(folder)
    given = f"search.sampler={sampler}"
    assert autopeft(monkeypatch, "validate", "space.yaml", "--set", given) == 2
    assert text in capsys.readouterr().err
    assert autopeft(monkeypatch, *SEARCH, "--set", given) == 2
    assert text in capsys.readouterr().err
    assert autopeft(monkeypatch, "studies") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("return {", "SyntaxError"),
    ],
)
def test_code_that_cannot_be_imported_is_told_before_there_is_a_study(
    folder, monkeypatch, capsys, body, text
):
    write(folder)
    (folder / "my_package" / "train.py").write_text(f"{body}\n")
    assert autopeft(monkeypatch, *SEARCH) == 2
    said = capsys.readouterr().err
    assert "evaluator my_package.train:evaluate cannot be imported from" in said
    assert text in said
    assert str(folder / "my_package" / "train.py") in said
    assert "own_function.py" not in said  # theirs, not ours
    assert autopeft(monkeypatch, "studies") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("my_package.train:evalute", "has no 'evalute': it has evaluate, score"),
        ("my_package.trian:evaluate", "which has no module my_package.trian: it has my_package"),
        ("my_package.train:score", "has to take (configuration, context), it takes (parameters)"),
    ],
)
def test_a_function_that_is_not_there_is_told_with_those_that_are(
    folder, monkeypatch, capsys, function, text
):
    write(folder)
    assert autopeft(monkeypatch, *SEARCH, "--set", f"evaluator={function}") == 2
    assert text in capsys.readouterr().err


def test_code_that_always_raises_ends_the_study_after_three_trials_and_is_mended(
    folder, monkeypatch, capsys
):
    write(folder, 'return {"rouge": score({})}')
    assert autopeft(monkeypatch, *SEARCH) == 1
    said = capsys.readouterr().err
    assert "error: no trial was completed (3 failed)" in said
    assert "KeyError: 'rank' (my_package/train.py:7)" in said
    traceback = said.partition("Traceback (most recent call last):\n")[2]
    assert traceback.startswith(f'  File "{folder}/my_package/train.py", line 3, in evaluate')
    assert "own_code.py" not in traceback
    assert "autopeft resume free" in said
    write(folder)
    assert autopeft(monkeypatch, "resume", "free", "--local") == 0
    assert "5 completed, 3 failed" in capsys.readouterr().out


def test_code_that_raises_sometimes_costs_those_trials_alone(folder, monkeypatch, capsys):
    write(folder, f'if configuration.parameters["rank"] > 8: raise OSError("full")\n    {FINE}')
    assert autopeft(monkeypatch, *SEARCH) == 0
    done = capsys.readouterr()
    assert "OSError: full (my_package/train.py:3)" in done.err
    assert "autopeft status free --tracebacks" in done.out
    assert autopeft(monkeypatch, "status", "free", "--tracebacks") == 0
    told = capsys.readouterr().out
    assert "8 of 8 trials" in told
    assert told.count("OSError: full\n") == told.count("failed: error: ") > 0


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return [1, 2]", "an evaluator returns a mapping of metrics, got list [1, 2]"),
        ('return {"rouge": float("nan"), "size": 1}', "rouge needs a finite value, got nan"),
        ('return {"size": 1}', "metrics: declares rouge, which the evaluator did not return"),
        ("raise SystemExit(2)", "SystemExit: 2 (my_package/train.py:3)"),
    ],
)
def test_garbage_is_named_and_ends_the_study_early(folder, monkeypatch, capsys, body, text):
    write(folder, body)
    assert autopeft(monkeypatch, *SEARCH) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert text in said
    assert "the search stopped early" in said
    autopeft(monkeypatch, "status", "free")
    assert f"{5 if 'nan' in body else 3} of 8 trials" in capsys.readouterr().out


def test_a_configuration_that_the_code_refuses_teaches_the_search(folder, monkeypatch, capsys):
    write(folder, 'context.refuse("no such rank")')
    assert autopeft(monkeypatch, *SEARCH) == 1
    assert autopeft(monkeypatch, "status", "free") == 0
    assert capsys.readouterr().out.count("failed: unfit: no such rank") == 8


def test_an_old_study_is_shown_without_its_code(folder, monkeypatch, capsys):
    write(folder)
    assert autopeft(monkeypatch, *SEARCH, "--set", "budget.trials=2") == 0
    (folder / "my_package" / "train.py").unlink()
    capsys.readouterr()
    assert autopeft(monkeypatch, "front", "free", "--json") == 0
    assert json.loads(capsys.readouterr().out)["front"]
    assert autopeft(monkeypatch, "resume", "free", "--local") == 2
    assert "has no module my_package.train" in capsys.readouterr().err
    assert "my_package.train" not in sys.modules


def test_a_confirmation_reports_the_test_split_that_the_code_measures(folder, monkeypatch, capsys):
    body = """p = configuration.parameters
    found = {"rouge": (score(p), 0.01), "size": p["rank"]}
    return {**found, "test": {"rouge": score(p) - 0.125}} if context.test else found"""
    write(folder, body)
    assert autopeft(monkeypatch, *SEARCH, "-q") == 0
    capsys.readouterr()
    confirm = ("confirm", "free", "--seeds", "2", "--local", "-q")
    assert autopeft(monkeypatch, *confirm, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["test"]
    for row in report["parties"]:
        assert set(row["test"]) == {"rouge"}
        gap = row["validation"]["rouge"]["mean"] - row["test"]["rouge"]["mean"]
        assert gap == pytest.approx(0.125)
    assert autopeft(monkeypatch, "confirm", "free", "--report") == 0
    told = capsys.readouterr().out
    assert "Test: the test split is only reported; nothing is chosen by it." in told


def test_a_confirmation_says_how_code_reports_a_test_split(folder, monkeypatch, capsys):
    write(folder)
    assert autopeft(monkeypatch, *SEARCH, "-q") == 0
    assert autopeft(monkeypatch, "confirm", "free", "--seeds", "2", "--local", "-q") == 0
    assert "returned no `test` beside its metrics" in capsys.readouterr().out
