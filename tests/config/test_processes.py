"""How many processes train a trial: what the file says and what it means."""

from pathlib import Path

import pytest

from autopeft.config import parse
from autopeft.config.change import widens
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError

SPACES = Path(__file__).parents[2] / "search_spaces"
FILE = read(SPACES / "quickstart.yaml")[0]


def document(resources, **model):
    return {**FILE, "resources": resources, "model": {**FILE["model"], **model}}


def processes(resources, **model):
    return parse(document(resources, **model), folder=".").resources.processes_per_trial


def mistakes(plain):
    with pytest.raises(SpecError) as caught:
        parse(plain, folder=".")
    return {mistake.path: str(mistake) for mistake in caught.value.mistakes}


def test_a_trial_of_several_gpus_has_a_process_on_each():
    assert processes({}) == 1
    assert processes({"gpus_per_trial": 0.5}) == 1
    assert processes({"gpus_per_trial": 4}) == 4
    assert processes({"gpus_per_trial": 2, "processes_per_trial": 2}) == 2


def test_a_device_map_spreads_one_process_over_the_gpus():
    assert processes({"gpus_per_trial": 2}, device_map="auto") == 1


def test_processes_without_a_gpu_share_the_cpus_of_the_trial():
    spec = parse(document({"cpus_per_trial": 4, "processes_per_trial": 2}), folder=".")
    assert spec.resources.processes_per_trial == 2
    assert spec.resources.threads == 2
    assert spec.resources.devices == 4  # CPU hours are those of all


def test_an_evaluator_has_its_gpus_for_itself():
    own = {
        "autopeft": 1,
        "study": "own",
        "evaluator": "package.module:function",
        "parameters": {"rank": {"choice": [1, 2]}},
        "metrics": {"loss": {"goal": "minimize"}},
        "objectives": ["loss"],
        "budget": {"trials": 2},
    }
    found = parse({**own, "resources": {"gpus_per_trial": 2}}, folder=".")
    assert found.resources.processes_per_trial == 1
    said = mistakes({**own, "resources": {"processes_per_trial": 2}})
    assert "starts its processes itself, got 2" in said["resources.processes_per_trial"]


@pytest.mark.parametrize(
    ("resources", "at", "rule"),
    [
        ({"processes_per_trial": 0}, "processes_per_trial", "whole number from 1, got 0"),
        ({"processes_per_trial": 2.0}, "processes_per_trial", "whole number from 1, got 2.0"),
        ({"processes_per_trial": True}, "processes_per_trial", "whole number from 1, got True"),
        ({"processes_per_trial": "two"}, "processes_per_trial", "whole number from 1"),
        (
            {"processes_per_trial": 2},
            "processes_per_trial",
            "a process takes one CPU at least, got 2 and cpus_per_trial: 1",
        ),
        (
            {"processes_per_trial": 2, "gpus_per_trial": 4},
            "processes_per_trial",
            "a process takes one GPU, got 2 and gpus_per_trial: 4",
        ),
        (
            {"processes_per_trial": 2, "gpus_per_trial": 0.5},
            "processes_per_trial",
            "a process takes one GPU, got 2 and gpus_per_trial: 0.5",
        ),
        (
            {"processes_per_trial": 1, "gpus_per_trial": 2},
            "processes_per_trial",
            "a process takes one GPU, got 1 and gpus_per_trial: 2",
        ),
        ({"gpus_per_trial": 1.5}, "gpus_per_trial", "share of one GPU or whole ones, got 1.5"),
        ({"process_per_trial": 2}, "process_per_trial", "did you mean processes_per_trial?"),
    ],
)
def test_what_makes_no_sense_is_said(resources, at, rule):
    found = mistakes(document(resources))
    assert list(found) == [f"resources.{at}"]
    assert rule in found[f"resources.{at}"]


def test_a_model_spread_over_gpus_cannot_be_in_every_process():
    found = mistakes(document({"cpus_per_trial": 2, "processes_per_trial": 2}, device_map="auto"))
    assert "remove model.device_map" in found["resources.processes_per_trial"]


def test_what_looks_at_all_predictions_is_for_one_process():
    two = document({"cpus_per_trial": 2, "processes_per_trial": 2})
    metrics = {"mine": {"function": "my.code:f", "goal": "maximize"}}
    said = mistakes({**two, "metrics": metrics})
    assert "one process looks at all predictions" in said["metrics.mine.function"]
    training = {**FILE["training"], "early_stopping_patience": 2, "eval_strategy": "epoch"}
    said = mistakes({**two, "training": training})
    assert "early stopping needs one process" in said["resources.processes_per_trial"]


def test_processes_may_change_while_a_study_runs():
    assert widens(document({}), document({"gpus_per_trial": 2}))


@pytest.mark.parametrize("minutes", [0, -1, "ten"])
def test_a_trial_s_time_is_above_nothing(minutes):
    said = mistakes(document({"minutes_per_trial": minutes}))["resources.minutes_per_trial"]
    assert "takes minutes above 0, got 0" in said or "takes a number from 0, got" in said
    assert (
        parse(document({"minutes_per_trial": 1.5}), folder=".").resources.minutes_per_trial == 1.5
    )


def test_a_trial_s_time_may_change_while_a_study_goes_on():
    before, after = document({}), document({"minutes_per_trial": 30})
    assert widens(before, after)
