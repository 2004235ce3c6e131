"""How a search ends before its budget: paused, hopeless, or because it has had enough."""

import json
import signal
import subprocess
import time
from unittest.mock import ANY

import pytest
from command_line import AUTOPEFT, environment, here
from tiny_study import write_study

SPACE = """
study: small
training: {per_device_train_batch_size: 16, num_train_epochs: 4}
space:
  lora:
    layers: {last: {choice: [1, 2]}}
    modules:
      - {peft_type: LORA, r: {choice: [1, 2, 4]}, target_modules: [query, value]}
    training: {learning_rate: {low: 1e-4, high: 1e-2, log: true}}
objectives:
  - {metric: eval_loss, goal: minimize}
  - {metric: adapter_params, goal: minimize, scale: log}
baselines:
  house:
    layers: {last: 1}
    modules: [{peft_type: LORA, r: 8, target_modules: [query]}]
    training: {learning_rate: {low: 1e-4, high: 1e-2, log: true}}
budget: {trials: 6}
search: {parallel: 2, rungs: {epochs: [1], eta: 2}, seed: 0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("user"), SPACE)


def status(folder, study):
    return json.loads(here(folder, "status", study, "--json").stdout)


def test_a_study_whose_every_trial_fails_alike_says_so(folder):
    # It needs a package that is not installed.
    wrong = ("--set", "study=broken", "--set", "training.optim=galore_adamw")
    done = here(folder, "search", "space.yaml", "--local", *wrong, code=1)
    assert "no trial was completed" in done.stderr
    assert "galore" in done.stderr


def test_a_search_that_has_had_enough_stops_says_so_and_goes_on_with_a_looser_rule(folder):
    given = (
        *("search", "space.yaml", "--local", "--set", "study=early", "--set", "budget.trials=12"),
        *("--set", "training.num_train_epochs=1", "--set"),
    )
    # Less than all is left as soon as the model speaks: after a design of 4 beside the baseline.
    done = here(folder, *given, "search.stop={min_gain: 1, patience: 1}")
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("Stopped: ")]
    assert said.startswith(
        "Stopped: the model took less than 100 % of the hypervolume to be left to gain, "
        "at the last proposal (search.stop.min_gain); "
    )
    first = status(folder, "early")
    trials = sum(first["trials"].values())
    assert said.endswith(f"; {12 - trials} of 12 trials were left.")
    assert trials < 12
    assert first["state"] == "finished"
    assert 0 <= first["expected_gain"] <= first["expected_left"] < 1
    assert "Left to gain, by the model: " in here(folder, "status", "early").stdout
    again = here(folder, "resume", "early", "--local")
    assert said in again.stdout
    assert status(folder, "early") == {**first, "driver": ANY}
    looser = (*given, "search.stop={min_gain: 1.0e-9, patience: 20}")
    assert "search.stop.min_gain: 1 -> 1e-09" in here(folder, *looser, code=2).stderr
    more = here(folder, *looser, "--extend")
    assert "Stopped" not in more.stdout
    assert sum(status(folder, "early")["trials"].values()) == 12


def test_ctrl_c_pauses_and_resume_goes_on(folder):
    child = subprocess.Popen(
        [*AUTOPEFT, "search", "space.yaml", "--set", "study=paused"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    seen = ""
    for line in child.stderr:
        seen += line
        if " paused: " in line:
            break
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, rest = child.communicate(timeout=120)
    assert child.returncode == 130, seen + rest
    assert time.monotonic() - began < 60
    assert "Go on with: autopeft resume paused" in rest
    here(folder, "resume", "paused", "--local")
    told = status(folder, "paused")
    assert told["state"] == "finished"
    assert sum(told["trials"].values()) == 6
