"""One trial in two processes, as the product runs it: gloo on CPUs, a tiny BERT."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from command_line import environment
from safetensors.torch import load_file
from task_data import write_task
from tiny_models import chats, make_model

from autopeft import build
from autopeft.config import parse
from autopeft.domain.architecture import canonical
from autopeft.domain.errors import SpecError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training.group import GroupEvaluator, _cause

LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}
RECIPE = {
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 5,  # 12 rows: three batches, the last one short
    "num_train_epochs": 1,
    "logging_steps": 3,
}


class Study:
    """A bound study and its evaluator, made as `autopeft search` makes them."""

    def __init__(self, folder: Path, processes: int, home: str, **document):
        space = {
            "autopeft": 1,
            "study": "group",
            "modules": [LORA],
            "training": {"per_device_train_batch_size": 4},
            "objectives": ["eval_loss"],
            "budget": {"trials": 2},
            "resources": {"cpus_per_trial": 2, "processes_per_trial": processes},
        } | document
        self.spec, self.shape = build.bound(parse(space, folder=str(folder)))
        self.home = folder / home
        self.evaluator = build.make_evaluator(self.spec, self.home)
        self.curve = []

    def run(self, trial, tree, *, stop=None, rung=0, last=True, **recipe):
        configuration = canonical(
            tree, branch="b", shape=self.shape, training=RECIPE | recipe, defaults=PEFT_DEFAULTS
        )
        segment = Segment("group", trial, configuration, 0, rung, stop or Stop(), rung > 0, last)
        return self.evaluator.run(segment, lambda *point: self.curve.append(point))

    def stored(self, trial):
        folder = self.home / "group" / "adapters" / f"trial-{trial}"
        return load_file(folder / "adapter_model.safetensors")

    def processes(self):
        return [psutil.Process(process.pid) for process in self.evaluator._group._processes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    (folder / "task.json").write_text(json.dumps(write_task(folder, "SEQ_CLS")))
    config = json.loads((folder / "model" / "config.json").read_text())
    # What one process draws for a whole batch, two draw otherwise.
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "model" / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def task(folder):
    return json.loads((folder / "task.json").read_text())


@pytest.fixture(scope="module")
def one(folder, task):
    return Study(folder, 1, "one", **task)


@pytest.fixture(scope="module")
def two(folder, task):
    study = Study(folder, 2, "two", **task)
    yield study
    study.evaluator._close()


@pytest.mark.parametrize(
    ("trial", "tree", "recipe"),
    [
        (0, {"modules": [LORA]}, {}),
        # Its layers freeze and thaw in turn: what a reduction of gradients has to know.
        (1, {"modules": [LORA], "allocation": "ist"}, {"num_train_epochs": 2}),
        pytest.param(
            *(2, {"modules": [LORA], "allocation": {"adalora": {"init_r": 6, "target_r": 2}}}, {}),
            marks=pytest.mark.long,
        ),
    ],
    ids=["lora", "ist", "adalora"],
)
def test_two_processes_train_to_what_one_does(one, two, trial, tree, recipe):
    two.curve.clear(), one.curve.clear()
    alone, together = (study.run(trial, tree, **recipe) for study in (one, two))
    assert isinstance(together, Result), together
    assert together.provenance["processes"] == 2
    assert together.step == alone.step
    for name in ("eval_loss", "accuracy", "f1"):
        expected = pytest.approx(alone.metrics[name], rel=1e-5, abs=1e-6)
        assert together.metrics[name] == expected, name
        assert together.stderr[name] == pytest.approx(alone.stderr[name], rel=1e-3), name
    expected, found = one.stored(trial), two.stored(trial)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    for record in ("ranks", "layer_scores"):
        assert together.provenance.get(record, {}) == pytest.approx(
            alone.provenance.get(record, {}), abs=1e-6
        )
    assert [step for step, _ in two.curve] == [step for step, _ in one.curve]
    for (_, expected), (_, found) in zip(one.curve, two.curve, strict=True):
        assert found.get("loss") == pytest.approx(expected.get("loss"), rel=1e-4)


def test_a_paused_trial_goes_on_in_two_processes_to_the_same_bits(two):
    """With dropout, of which every process draws its own."""
    tree = {"modules": [{**LORA, "lora_dropout": 0.3}]}
    whole = two.run(10, tree)
    paused = two.run(11, tree, stop=Stop(steps=4), last=False)
    assert isinstance(paused, Result), paused
    assert paused.step == 4
    resumed = two.run(11, tree, rung=1)
    assert resumed.provenance["resumed"] is True
    assert resumed.metrics["eval_loss"] == whole.metrics["eval_loss"]
    assert whole.metrics["eval_loss"] != paused.metrics["eval_loss"]
    expected, found = two.stored(10), two.stored(11)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_step_that_cannot_be_shared_out_is_unfit_and_starts_nothing(two):
    processes = two.processes()
    failure = two.run(12, {"modules": [LORA]}, per_device_train_batch_size=3)
    assert isinstance(failure, Failure)
    assert failure.reason is FailureReason.UNFIT
    assert "the 3 rows of a step" in failure.message
    assert two.processes() == processes


def test_such_a_space_is_refused_with_the_file(folder, task):
    training = {"per_device_train_batch_size": 3, "learning_rate": 1e-3}
    with pytest.raises(SpecError, match="the 3 rows of a step .* by 2 processes: take a multiple"):
        Study(folder, 2, "never", **task, training=training)


def test_a_failure_has_its_own_reason_and_leaves_no_process_behind(two):
    processes = two.processes()
    scratch = processes[0].environ()["TMPDIR"]
    failure = two.run(13, {"modules": [LORA]}, learning_rate=1e30)
    assert isinstance(failure, Failure), failure
    assert failure.reason is FailureReason.NOT_FINITE
    assert "loss is nan" in failure.message
    assert failure.details.startswith("in process ")
    assert not any(process.is_running() for process in processes)
    assert not Path(scratch).exists()


def test_what_the_configuration_is_to_blame_for_is_the_cause():
    lost = Failure(FailureReason.ERROR, "RuntimeError: Connection closed by peer")
    died = Failure(FailureReason.ERROR, "process 1 of the 2 of this trial was killed by SIGKILL")
    full = Failure(FailureReason.OUT_OF_MEMORY, "CUDA out of memory")
    assert _cause([lost, died]) is died
    assert _cause([lost, full, died]) is full


@pytest.mark.long
def test_a_process_that_is_killed_ends_the_trial_and_the_next_one_runs(folder, task):
    study = Study(folder, 2, "killed", **task)
    assert isinstance(study.run(0, {"modules": [LORA]}), Result)
    first, second = study.processes()

    def kill():
        while not study.curve:
            time.sleep(0.01)
        os.kill(second.pid, signal.SIGKILL)

    study.curve.clear()
    killer = threading.Thread(target=kill)
    killer.start()
    failure = study.run(1, {"modules": [LORA]}, num_train_epochs=200)
    killer.join()
    assert isinstance(failure, Failure), failure
    assert failure.message == "process 1 of the 2 of this trial was killed by SIGKILL"
    assert not first.is_running()
    assert isinstance(study.run(2, {"modules": [LORA]}), Result)
    study.evaluator._close()


@pytest.mark.long
def test_processes_end_with_a_worker_that_is_killed(folder, task):
    script = textwrap.dedent(
        f"""
        import json, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_group import LORA, Study
        study = Study(Path({str(folder)!r}), 2, "worker", **json.loads({json.dumps(task)!r}))
        study.run(0, {{"modules": [LORA]}})
        print(*(process.pid for process in study.processes()), flush=True)
        study.run(1, {{"modules": [LORA]}}, num_train_epochs=10000)
        """
    )
    environ = environment(folder) | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    worker = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environ
    )
    pids = [int(pid) for pid in worker.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(1)  # it trains
    worker.kill()
    worker.wait()
    until = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.long
def test_a_language_model_is_trained_by_tokens_and_judged_once(tmp_path):
    """Rows of different lengths, generated texts, choices, packed or not."""
    make_model("llama", tmp_path / "model", "CAUSAL_LM")
    rows = [row | {"n": i} for i, row in enumerate(chats(43))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"path": "json", "data_files": "rows.jsonl"}
    lora = {"peft_type": "LORA", "r": 4, "target_modules": "all-linear"}
    document = {
        "model": {"model_name_or_path": "model", "task_type": "CAUSAL_LM"},
        "data": {
            "train": {**source, "split": "train[:32]"},
            "validation": {**source, "split": "train[32:]"},
            "general": source,
        },
        "modules": [lora],
        "objectives": ["eval_loss", "exact_match", "forgetting", "inference_ms"],
        "evaluation": {"generate": {"max_new_tokens": 4}},
    }
    found = [
        Study(tmp_path, processes, f"home-{processes}", **document).run(
            0, {"modules": [lora]}, gradient_accumulation_steps=2
        )
        for processes in (1, 2)
    ]
    assert all(isinstance(result, Result) for result in found), found
    alone, together = found
    assert together.step == alone.step == 4
    for name in ("eval_loss", "perplexity", "forgetting"):
        assert together.metrics[name] == pytest.approx(alone.metrics[name], rel=1e-4), name
    assert together.metrics["exact_match"] == alone.metrics["exact_match"]
    assert together.metrics["tokens_per_second"] * together.metrics["step_ms"] == pytest.approx(
        alone.metrics["tokens_per_second"] * alone.metrics["step_ms"]
    )


def test_a_worker_with_too_few_gpus_says_so(one, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    resources = replace(one.spec.resources, gpus_per_trial=2, processes_per_trial=2)
    evaluator = GroupEvaluator(replace(one.spec, resources=resources), one.home)
    configuration = canonical(
        {"modules": [LORA]}, branch="b", shape=one.shape, training=RECIPE, defaults=PEFT_DEFAULTS
    )
    failure = evaluator.run(
        Segment("group", 0, configuration, 0, 0, Stop(), False, True), lambda step, metrics: None
    )
    assert isinstance(failure, Failure)
    assert failure.message == (
        "2 processes need a GPU each, this worker has 1: lower resources.gpus_per_trial"
    )
