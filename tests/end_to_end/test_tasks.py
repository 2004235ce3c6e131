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
from task_data import EXAMPLES, write_task

from autopeft import build
from autopeft.config import parse
from autopeft.domain.generation import GENERATED
from autopeft.domain.objective import METRICS
from autopeft.domain.tasks import KINDS
from autopeft.domain.trial import State
from autopeft.orchestrator import local
from autopeft.orchestrator.session import StudySession
from autopeft.search import make_sampler
from autopeft.training.loading.data import load_data
from autopeft.training.tasks import task_of

RUFF = Path(sys.executable).parent / "ruff"
WITHOUT_TRL = [name for name, kind in KINDS.items() if kind.trainer != "trl.SFTTrainer"]
# One stands for all generated texts; the others want numbers in them, or an extra.
PROMISED = {
    name: [m for m in kind.metrics if m not in GENERATED or m == "exact_match"]
    for name, kind in KINDS.items()
}


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
            "objectives": [*PROMISED[name], "adapter_params", "inference_merged_ms"],
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
        assert {*PROMISED[name], "inference_merged_ms"} <= set(trial.metrics)
        assert set(PROMISED[name]) == set(trial.stderr)
        assert all(METRICS[metric] for metric in trial.metrics)


@pytest.mark.parametrize("name", WITHOUT_TRL)
def test_an_export_trains_to_the_bits_of_the_trial_and_loads_as_its_card_says(
    searched, name, tmp_path
):
    spec, shape, trials, folder = searched(name)
    trial = next(trial for trial in trials if trial.state is State.COMPLETED)
    adapter = folder / "home" / spec.name / "adapters" / f"trial-{trial.number}"
    out = tmp_path / "out"
    build.export(spec, shape, trial, adapter, out)
    assert formatted(out / "train.py") == ""
    threads = torch.get_num_threads()
    runpy.run_path(str(out / "train.py"), run_name="__main__")
    torch.set_num_threads(threads)
    metrics = json.loads((out / "retrained" / "metrics.json").read_text())
    assert repr(metrics["eval_loss"]) == repr(trial.metrics["eval_loss"])
    for metric in ("accuracy", "mae"):
        assert metrics.get(metric) == trial.metrics.get(metric)
    again = measured_as_the_card_says(spec, out, folder)
    assert again["eval_loss"] == pytest.approx(trial.metrics["eval_loss"], rel=1e-5)


def formatted(script):
    """What ruff has to say of a script."""
    said = ""
    for verb in (["format", "--diff"], ["check", "--select", "F,I,B,UP"]):
        options = ["--line-length", "100", "--no-cache", "--isolated", "train.py"]
        done = subprocess.run(
            [RUFF, *verb, *options], cwd=script.parent, capture_output=True, text=True
        )
        said += done.stdout if done.returncode else ""
    return said


def measured_as_the_card_says(spec, out, folder):
    """The metrics of what the README's lines load."""
    load = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    found = {}
    exec(load.replace("path/to/this/folder", str(out)), found)
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    task = task_of(spec.task)
    processor = task.processor(str(folder / "model"), trust_remote_code=False)
    trainer_class, arguments_class = task.trainer()
    trainer = trainer_class(
        model=found["model"],
        args=arguments_class(output_dir=str(out), use_cpu=True, report_to="none"),
        eval_dataset=task.inputs(data.validation, processor, spec.data),
        processing_class=processor,
        data_collator=task.collator(found["model"], processor),
    )
    loader = trainer.get_eval_dataloader()
    return task.measure(found["model"], loader, torch.device("cpu"), spec.asked)[0]
