"""Early stopping and a metric of the user's: paused or not, a trial ends alike, as does its export.

Everything is real but the session: segments are run as it would ask for them.
"""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exports import printed
from task_data import write_task
from tiny_models import chats, make_model

from autopeft import build
from autopeft.config import parse
from autopeft.domain.trial import Result, Rung, Segment, State, Stop, Trial

RUFF = Path(sys.executable).parent / "ruff"
JUDGE = """
from judging.helpers import share


def low(given):
    return float(abs(given.predictions).mean())


def length(given):
    predictions, references = given
    return {"length": share(map(len, predictions)), "rows": (len(references), 0.0)}
"""
HELPERS = """
def share(values):
    return 1 + sum(values) / 1000
"""
LOW = {"low": {"function": "judging.judge:low", "goal": "minimize"}}
LENGTH = {"length": {"function": "judging.judge:length", "goal": "maximize"}}
# A third evaluation never comes: logits grow.
SOON = {
    "learning_rate": 0.1,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "metric_for_best_model": "low",
    "early_stopping_patience": 2,
    "early_stopping_threshold": 0.5,
    "load_best_model_at_end": True,
}
LORA = {"peft_type": "LORA", "r": 2, "lora_dropout": 0.1, "target_modules": ["query", "value"]}
DATA = {
    "train": {"path": "json", "data_files": "rows.jsonl"},
    "validation": {"carve": 0.25, "from": "train", "seed": 0},
}
BOTTLENECK = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 4}
RANKS = {"allocation": "adalora"}, {"allocation": "increlora"}
OTHERS = (*RANKS, {"allocation": "lisa"}, {"modules": [BOTTLENECK, LORA]})


class World:
    """A study of one configuration, and what runs its segments."""

    def __init__(self, folder: Path, document: dict) -> None:
        package = folder / "judging"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / "judge.py").write_text(JUDGE)
        (package / "helpers.py").write_text(HELPERS)
        plain = {"autopeft": 1, "study": "stop", "objectives": ["eval_loss"]}
        plain |= {"budget": {"trials": 1}, **document}
        self.folder = folder
        self.spec, self.shape = build.bound(parse(plain, folder=str(folder)))
        self.evaluator = build.make_evaluator(self.spec, folder / "home")

    def configuration(self, **recipe):
        found = build.problem(self.spec, self.shape).configure({"branch": "main"})
        return type(found)(**{**vars(found), "recipe": {**found.recipe, **recipe}})

    def run(self, number: int, *stops: Stop, test: bool = False, **recipe) -> list[Result]:
        """The results of a trial that pauses there. test: whether it confirms another."""
        results = []
        for rung, stop in enumerate((*stops, Stop())):
            last = rung == len(stops)
            work = (self.configuration(**recipe), 3, rung, stop, rung > 0, last)
            segment = Segment("stop", number, *work, test=test)
            found = self.evaluator.run(segment, lambda step, metrics: None)
            assert isinstance(found, Result), found
            results.append(found)
        return results

    def exported(self, number: int, result: Result, to: Path) -> dict:
        """The metrics of the trial's train.py, well laid out as it is."""
        trial = Trial(
            number=number,
            configuration=self.configuration(),
            seed=3,
            point={},
            known={},
            state=State.COMPLETED,
            rungs=(Rung(0, result.step, result.metrics),),
            provenance=result.provenance,
        )
        adapter = self.folder / "home" / "stop" / "adapters" / f"trial-{number}"
        build.export(self.spec, self.shape, trial, adapter, to)
        for path in to.rglob("*.py"):
            assert "from autopeft" not in path.read_text(), path
        for verb in (["format", "--diff"], ["check", "--select", "F,I,B,UP"]):
            options = ["--line-length", "100", "--no-cache", "--isolated"]
            files = ["train.py", "study_metrics.py"]
            done = subprocess.run([RUFF, *verb, *options, *files], cwd=to, capture_output=True)
            assert done.returncode == 0, done.stdout
        return retrained(to)


def retrained(folder: Path) -> dict:
    """The metrics of a folder's train.py, whose own copy of the user's code is imported."""
    if (folder / "tuners").exists():  # PEFT knows them from elsewhere here
        return json.loads(printed("train.py", cwd=folder, environment={"OMP_NUM_THREADS": "1"}))
    before, path, threads = dict(sys.modules), list(sys.path), torch.get_num_threads()
    for name in [n for n in sys.modules if n.partition(".")[0] == "judging"]:
        del sys.modules[name]
    try:
        sys.path.insert(0, str(folder))  # as of a script
        runpy.run_path(str(folder / "train.py"), run_name="__main__")
        assert sys.modules["judging.judge"].__file__.startswith(str(folder / "own_code"))
    finally:
        torch.set_num_threads(threads)
        sys.path[:] = path
        for name in set(sys.modules) - set(before):
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]
        sys.modules.update(before)
    return json.loads((folder / "retrained" / "metrics.json").read_text())


def classifying(folder: Path, **changes) -> World:
    training = {"per_device_train_batch_size": 8, "num_train_epochs": 6, **SOON}
    document = {"training": training, "modules": [LORA], "metrics": LOW, **changes}
    return World(folder, {**write_task(folder, "SEQ_CLS"), **document})


@pytest.mark.parametrize(
    "changes", [{}, *(pytest.param(other, marks=pytest.mark.long) for other in OTHERS)], ids=str
)
def test_a_trial_stops_early_alike_however_it_pauses_and_in_its_export(tmp_path, changes):
    world = classifying(tmp_path, **changes)
    (whole,) = world.run(0)
    paused = world.run(1, Stop(epochs=1), Stop(epochs=2), Stop(steps=17))
    told = whole.provenance["early_stopping"]
    steps = 27 if changes in RANKS else 9  # ranks are those of the end from step 21 on
    assert (whole.step, told["stopped"], told["metric"]) == (steps, steps, "low")
    assert told["weights_of"] < steps
    assert paused[-1].provenance["early_stopping"] == told
    for name in ("eval_loss", "accuracy", "low"):
        assert repr(paused[-1].metrics[name]) == repr(whole.metrics[name])
    assert whole.metrics["low"] == told["best"]
    metrics = world.exported(0, whole, tmp_path / "out")
    for name in ("eval_loss", "low"):
        assert repr(metrics[name]) == repr(whole.metrics[name])


def test_a_trial_that_has_stopped_costs_its_next_rungs_nothing(tmp_path):
    world = classifying(tmp_path)
    stopped, after, end = world.run(0, Stop(epochs=2), Stop(epochs=3))
    assert [result.step for result in (stopped, after, end)] == [9, 9, 9]
    assert stopped.metrics["train_seconds"] == end.metrics["train_seconds"]
    quality = [(r.metrics["eval_loss"], r.metrics["low"]) for r in (stopped, after, end)]
    assert len(set(quality)) == 1
    assert (tmp_path / "home" / "stop" / "adapters" / "trial-0").is_dir()


def test_evaluating_changes_no_bit_of_the_training_and_the_last_weights_count(tmp_path):
    world = classifying(tmp_path)
    none = {name: None for name in SOON if name != "learning_rate"}
    (plain,) = world.run(0, **none)
    patient = {"early_stopping_patience": 100, "load_best_model_at_end": False}
    (watched,) = world.run(1, **patient)
    assert plain.step == watched.step == 30
    assert repr(plain.metrics["eval_loss"]) == repr(watched.metrics["eval_loss"])
    assert "early_stopping" not in plain.provenance
    assert "weights_of" not in watched.provenance["early_stopping"]


def test_a_trial_that_confirms_stops_by_validation_and_reports_the_test_split(tmp_path):
    world = classifying(tmp_path, data={**DATA, "test": {**DATA["validation"], "seed": 1}})
    (searched,) = world.run(0)
    (confirming,) = world.run(1, test=True)
    assert confirming.provenance["early_stopping"] == searched.provenance["early_stopping"]
    assert repr(confirming.metrics["low"]) == repr(searched.metrics["low"])
    assert set(confirming.test) >= {"eval_loss", "low"}
    assert confirming.test["low"] != confirming.metrics["low"]
    assert not searched.test


def test_a_chat_model_stops_early_and_its_texts_are_judged_by_the_user_s_function(tmp_path):
    make_model("llama", tmp_path / "model", "CAUSAL_LM")
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, chats(24))))
    training = {
        "per_device_train_batch_size": 8,
        "num_train_epochs": 4,
        "learning_rate": 1e-3,
        "max_length": 48,
        "early_stopping_patience": 1,
        "early_stopping_threshold": 100,
    }
    files = {"path": "json", "data_files": "chats.jsonl"}
    world = World(
        tmp_path,
        {
            "model": {"model_name_or_path": "model", "task_type": "CAUSAL_LM"},
            "data": {"train": files, "validation": {"carve": 0.25, "from": "train", "seed": 0}},
            "training": training,
            "modules": [{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}],
            "metrics": LENGTH,
            "evaluation": {"generate": {"rows": 4, "max_new_tokens": 4}},
        },
    )
    paused = world.run(0, Stop(epochs=1))
    told = paused[-1].provenance["early_stopping"]
    assert told["stopped"] == paused[-1].step == 2 * paused[0].step
    metrics = world.exported(0, paused[-1], tmp_path / "out")
    for name in ("eval_loss", "length"):
        assert repr(metrics[name]) == repr(paused[-1].metrics[name])
    assert sorted(p.name for p in (tmp_path / "out" / "own_code" / "judging").glob("*.py")) == [
        "__init__.py",
        "helpers.py",
        "judge.py",
    ]
