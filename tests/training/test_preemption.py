"""A training that SIGTERM cuts short goes on elsewhere to the same bits."""

import os
import signal
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_study import write_study

from autopeft import build, config, preemption
from autopeft.domain.trial import Result, Segment, Stop
from autopeft.home import StudyFolder
from autopeft.training.pausing import progress_of

SPACE = """
study: spot
training: {per_device_train_batch_size: 4, num_train_epochs: 3, learning_rate: 3e-3, logging_steps: 1}
modules: [{peft_type: LORA, r: 2, lora_dropout: 0.2, target_modules: [query, value]}]
allocation: ALLOCATION
objectives: [{metric: eval_loss, goal: minimize}]
baselines: {}
budget: {trials: 1}
search: {sampler: random, rungs: {epochs: [2]}}
"""
EPOCH = 9  # steps: 36 rows in batches of 4


@pytest.fixture(autouse=True)
def _another_process():
    yield
    preemption._asked.clear()


@pytest.fixture(scope="module", params=["uniform", "{adalora: {init_r: 4, target_r: 2}}"])
def study(request, tmp_path_factory):
    """The bound spec, a configuration of it, and what an undisturbed run gives."""
    folder = write_study(
        tmp_path_factory.mktemp("spot"), SPACE.replace("ALLOCATION", request.param)
    )
    spec, shape = build.bound(config.load(folder / "space.yaml"))
    problem = build.problem(spec, shape)
    configuration = problem.configure(problem.space.draw(np.random.default_rng(0)))
    whole = Run(spec, configuration, folder / "whole")
    return spec, configuration, [whole.go_on(0), whole.go_on(1)], whole


class Run:
    def __init__(self, spec, configuration, home):
        self.spec, self.configuration, self.home = spec, configuration, home
        self.folder = StudyFolder(home / spec.name)
        self.steps = []

    def go_on(self, rung, *, end_at=None):
        """A worker of its own, that is told to end after a step is logged."""

        def report(step, metrics):
            self.steps.append(step)
            if step == end_at:
                os.kill(os.getpid(), signal.SIGTERM)

        stop = Stop(epochs=2) if rung == 0 else Stop()
        segment = Segment("spot", 0, self.configuration, 0, rung, stop, rung > 0, rung == 1)
        with preemption.heard():
            return build.make_evaluator(self.spec, self.home).run(segment, report)

    def is_cut(self, rung, *, end_at):
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(preemption.Preempted, match=f"paused after step {end_at + 1}"):
            self.go_on(rung, end_at=end_at)
        assert signal.getsignal(signal.SIGTERM) is before
        assert preemption.asked()
        preemption._asked.clear()  # another process goes on


def test_it_goes_on_from_the_step_that_it_was_cut_at_to_the_same_bits(study, tmp_path):
    spec, configuration, (first, last), whole = study
    cut = Run(spec, configuration, tmp_path)
    cut.is_cut(0, end_at=3)
    checkpoint = cut.folder.checkpoint(0, 0)
    assert progress_of(checkpoint)["cut_short"]
    spent = progress_of(checkpoint)["spent"]
    cut.is_cut(0, end_at=EPOCH - 1)  # at the end of an epoch
    assert progress_of(checkpoint)["spent"] > spent > 0
    again = cut.go_on(0)
    assert isinstance(again, Result)
    assert again.provenance["resumed"]
    assert again.seconds > progress_of(checkpoint).get("spent", 0.0)
    assert not progress_of(checkpoint).get("cut_short")  # the rung's own now
    cut.is_cut(1, end_at=2 * EPOCH + 4)
    ended = cut.go_on(1)
    assert cut.steps == whole.steps == list(range(1, 3 * EPOCH + 1))  # none was lost or repeated
    for mine, theirs in ((again, first), (ended, last)):
        assert mine.step == theirs.step
        assert mine.metrics["eval_loss"] == theirs.metrics["eval_loss"]
        assert mine.metrics["accuracy"] == theirs.metrics["accuracy"]
    tensors = [load_file(next(run.folder.adapter(0).glob("*.safetensors"))) for run in (cut, whole)]
    assert tensors[0].keys() == tensors[1].keys() != set()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_what_is_asked_at_the_last_step_of_a_rung_ends_the_rung(study, tmp_path):
    spec, configuration, (first, _), _ = study
    run = Run(spec, configuration, tmp_path)
    result = run.go_on(0, end_at=2 * EPOCH - 1)
    assert preemption.asked()
    assert result.metrics["eval_loss"] == first.metrics["eval_loss"]
    assert not progress_of(run.folder.checkpoint(0, 0)).get("cut_short")


def test_sigterm_does_what_it_always_does_while_nobody_trains():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    try:
        with preemption.heard():
            os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert preemption.asked()
        preemption._asked.clear()
        with preemption.heard(), preemption.looking():
            os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert preemption.asked()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_that_cannot_hear_signals_trains_all_the_same():
    failed = []

    def train():
        try:
            with preemption.heard(), preemption.looking():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert failed == []
