"""A front on fresh seeds, by real training and from the command line; beside it its control."""

import json
import os
import signal
import subprocess
import time
from collections import Counter

import pytest
from command_line import AUTOPEFT, environment, here
from tiny_study import write_study

from autopeft.domain.results.replicates import averaged, fresh, searched
from autopeft.domain.trial import State
from autopeft.study import load_study

SPACE = """
study: small
training: {per_device_train_batch_size: 16, max_steps: 2}
space:
  lora:
    layers: {bits: shared}  # known only with the model: the confirmation finds them by itself
    modules: [{peft_type: LORA, r: {choice: [1, 2, 4]}, target_modules: [query, value]}]
baselines:
  house:
    modules: [{peft_type: LORA, r: 8, target_modules: [query]}]
    training: {learning_rate: 1e-3}
objectives:
  - {metric: eval_loss, goal: minimize}
  - {metric: adapter_params, goal: minimize, scale: log}
budget: {trials: 11}
confirm: {seeds: 2}
search: {sampler: random}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    test = "test: {carve: 0.25, from: train, seed: 1}"
    folder = tmp_path_factory.mktemp("user")
    return write_study(folder, SPACE, rows=64, data=test, num_hidden_layers=2)


@pytest.fixture(scope="module")
def confirmed(folder):
    """A study whose driver was killed while it confirmed, and gone on with."""
    driver = subprocess.Popen(
        [*AUTOPEFT, "search", "space.yaml", "--local", "-q"],
        cwd=folder,
        env=environment(folder),
        start_new_session=True,
    )
    store = folder / "autopeft-studies"
    for _ in range(2000):
        time.sleep(0.2)
        if driver.poll() is not None:
            break
        if (store / "autopeft.db").exists():
            try:
                told = load_study("small", home=store).trials
            except Exception:  # the tables are being made
                continue
            if any(t.state is State.COMPLETED for t in fresh(told)):
                os.killpg(driver.pid, signal.SIGKILL)
                break
    driver.wait()
    told = load_study("small", home=store).trials
    assert any(t.state is State.PLANNED for t in fresh(told)), "it was killed half-way"
    here(folder, "resume", "small", "--local", "-q")
    return load_study("small", home=store), told


def test_a_search_confirms_its_front_inside_its_budget_also_after_a_kill(folder, confirmed):
    study, before = confirmed
    again = fresh(study.trials)
    assert len(study.trials) <= 11
    assert all(trial.state is State.COMPLETED for trial in study.trials)
    done = [t for t in fresh(before) if t.state is State.COMPLETED]
    assert all(study.trials[t.number] == t for t in done)
    parties = {t.confirms for t in again}
    assert {(t.confirms, t.seed) for t in again} == {(n, s) for n in parties for s in (1000, 1001)}
    assert any(t.baseline for t in again)
    for trial in again:
        rung = trial.rungs[-1]
        assert {"accuracy", "eval_loss"} <= set(rung.test_stderr) <= set(rung.test)
        assert set(rung.test_stderr) == set(rung.stderr)
        assert rung.test["eval_loss"] != rung.metrics["eval_loss"]
        assert not study.home.adapter("small", trial.number).exists()
    for trial in searched(study.trials):
        assert not trial.rungs[-1].test


def test_the_report_has_intervals_odds_and_pairs_and_front_shows_fresh_means(folder, confirmed):
    study, _ = confirmed
    report = json.loads(here(folder, "confirm", "small", "--report", "--json").stdout)
    assert (report["seeds"], report["left"], report["test"]) == ([1000, 1001], 0, True)
    rows = {row["trial"]: row for row in report["parties"]}
    for number, row in rows.items():
        again = [t for t in fresh(study.trials) if t.confirms == number]
        mean = sum(t.metrics["eval_loss"] for t in again) / 2
        assert row["validation"]["eval_loss"]["mean"] == pytest.approx(mean)
        assert row["test"]["eval_loss"]["mean"] == pytest.approx(
            sum(t.rungs[-1].test["eval_loss"] for t in again) / 2
        )
        assert 0 <= row["on_front"] <= 1
        assert bool(row["against"]) != row["baseline"]
    assert {row["name"]: row["confirming"] for row in report["spent"]}["house"] == 2
    front = json.loads(here(folder, "front", "small", "--json").stdout)
    for row in front["front"]:
        assert (row["confirmed"], row["seeds"]) == (True, 2)
        told = rows[row["trial"]]["validation"]["eval_loss"]["mean"]
        assert row["metrics"]["eval_loss"] == pytest.approx(told)
    told = here(folder, "confirm", "small", "--report").stdout
    assert "Test: the test split, 25 % of train is only reported" in told.replace("\n", " ")
    assert "Spent on baseline house: 1 trial, 1 learning rate, 2 to confirm" in told


def test_the_best_and_its_export_tell_the_confirmed_values(folder, confirmed, tmp_path):
    study, _ = confirmed
    best = json.loads(here(folder, "best", "small", "--json").stdout)
    mean = next(t for t in averaged(study.trials) if t.number == best["trial"])
    assert best["metrics"] == mean.metrics
    here(folder, "export", "small", "--to", str(tmp_path / "out"))
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["metrics"] == study.trials[best["trial"]].metrics
    assert provenance["confirmed"]["seeds"] == [1000, 1001]
    assert provenance["confirmed"]["metrics"]["eval_loss"] == mean.metrics["eval_loss"]
    assert "at 2 fresh seeds" in (tmp_path / "out" / "README.md").read_text()


def test_the_control_spends_the_budget_on_lora_and_is_compared_with(folder, confirmed):
    here(folder, "search", str(folder / "space.yaml"), "--control", "--local", "-q")
    control = load_study("small-control", home=folder / "autopeft-studies")
    assert 10 <= len(control.trials) <= 11
    assert {t.configuration.branch for t in control.trials} == {"lora"}
    assert len({t.configuration.architecture.key for t in control.trials}) > 1
    front = json.loads(here(folder, "front", "small", "--json").stdout)["control"]
    assert [row["study"] for row in front["studies"]] == ["small", "small-control"]
    assert all(0 <= row["hypervolume"] <= 1 for row in front["studies"])
    report = json.loads(here(folder, "confirm", "small", "--report", "--json").stdout)
    for row in report["parties"]:
        against = {other["name"]: other["validation"] for other in row["against"]}
        assert against["small-control"]["seeds"] == 2
    assert "Control small-control (LoRA alone)" in here(folder, "front", "small").stdout


def test_confirming_more_seeds_later_adds_those_that_are_missing(folder, confirmed):
    before = len(load_study("small", home=folder / "autopeft-studies").trials)
    report = json.loads(
        here(folder, "confirm", "small", "--seeds", "3", "--json", "--local", "-q").stdout
    )
    assert report["seeds"] == [1000, 1001, 1002]
    after = load_study("small", home=folder / "autopeft-studies").trials
    assert report["not_confirmed"] == []
    counts = Counter(t.confirms for t in fresh(after))
    assert set(counts.values()) == {3}
    assert len(after) > before
