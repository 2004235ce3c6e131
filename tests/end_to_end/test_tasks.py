"""A search for every kind of task on generated data, and its export, which trains to the same loss.

Everything is real but the store, and MLflow is left out.
"""

import json
import runpy
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from fakes import MemoryStore, record_of
from peft import PeftModel
from task_data import EXAMPLES, write_task
from tiny_models import AUTO_CLASSES

from autopeft import build
from autopeft.config import parse
from autopeft.domain.objective import METRICS
from autopeft.domain.tasks import KINDS
from autopeft.domain.trial import State
from autopeft.orchestrator import local
from autopeft.orchestrator.session import StudySession
from autopeft.search import make_sampler
from autopeft.training.data import load_data
from autopeft.training.tasks import task_of
from autopeft.training.trial import Bench

RUFF = Path(sys.executable).parent / "ruff"
WITHOUT_TRL = [name for name, kind in KINDS.items() if kind.trainer != "trl.SFTTrainer"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """name -> (spec, shape, trials, home, folder of the export); each is searched once."""

    @cache
    def of(name):
        folder = tmp_path_factory.mktemp("task")
        lora = {
            "peft_type": "LORA",
            "r": {"choice": [2, 4]},
            "target_modules": list(EXAMPLES[name].targets),
        }
        document = {
            "autopeft": 1,
            "study": "task",
            **write_task(folder, name),
            "training": {"per_device_train_batch_size": 8, "num_train_epochs": 2},
            "modules": [lora],
            "objectives": [*KINDS[name].metrics, "adapter_params"],
            "budget": {"trials": 2},
            "search": {"rungs": {"epochs": [1]}, "sampler": "random"},
        }
        spec, shape = build.bound(parse(document, folder=str(folder)))
        store = MemoryStore()
        store.create(record_of(spec))
        session = StudySession(
            spec,
            problem=build.problem(spec, shape),
            store=store,
            sampler=make_sampler("random", {}),
            clock=time.time,
        )
        evaluator = build.make_evaluator(spec, folder / "home")
        local.run(session, evaluator, stop=threading.Event())
        session.close()
        return spec, shape, session.trials, folder

    return of


@pytest.mark.parametrize("name", WITHOUT_TRL)
def test_a_search_measures_what_the_kind_promises(searched, name):
    spec, _, trials, _ = searched(name)
    done = [trial for trial in trials if trial.state is State.COMPLETED]
    assert done, [trial.failure for trial in trials]
    for trial in done:
        assert set(KINDS[name].metrics) <= set(trial.metrics)
        assert set(KINDS[name].metrics) == set(trial.stderr)
        assert all(METRICS[metric] for metric in trial.metrics)


@pytest.mark.parametrize("name", WITHOUT_TRL)
def test_an_export_trains_to_the_bits_of_the_trial(searched, name, tmp_path, capsys):
    spec, shape, trials, folder = searched(name)
    trial = next(trial for trial in trials if trial.state is State.COMPLETED)
    adapter = folder / "home" / spec.name / "adapters" / f"trial-{trial.number}"
    threads = torch.get_num_threads()
    build.export(spec, shape, trial, adapter, tmp_path / "out")
    checked = [
        subprocess.run(
            [RUFF, *verb, "--line-length", "100", "--no-cache", "--isolated", "train.py"],
            cwd=tmp_path / "out",
            capture_output=True,
            text=True,
        )
        for verb in (["format", "--diff"], ["check", "--select", "F,I,B,UP"])
    ]
    assert [done.returncode for done in checked] == [0, 0], [done.stdout for done in checked]
    runpy.run_path(str(tmp_path / "out" / "train.py"), run_name="__main__")
    torch.set_num_threads(threads)
    metrics = json.loads((tmp_path / "out" / "retrained" / "metrics.json").read_text())
    assert repr(metrics["eval_loss"]) == repr(trial.metrics["eval_loss"])
    for metric in ("accuracy", "mae"):
        assert metrics.get(metric) == trial.metrics.get(metric)
