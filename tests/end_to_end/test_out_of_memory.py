"""Memory that runs out in the real trainer, under the real rules of a study."""

import json

import pytest
from fakes import MemoryStore, record_of
from scarce_memory import room_for
from tiny_models import make_model

from autopeft import build
from autopeft.config import load
from autopeft.domain.trial import FailureReason, State
from autopeft.orchestrator.session import StudySession
from autopeft.search import make_sampler

SPACE = """
autopeft: 1
study: scarce
model: {model_name_or_path: model, task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train}
training: {per_device_train_batch_size: 8, max_steps: 1}
space:
  lora: {modules: [{peft_type: LORA, r: {choice: [1, 2, 4, 8]}, target_modules: [query]}]}
objectives: [eval_loss, adapter_params]
baselines: {}
budget: {trials: 4}
search: {sampler: random, parallel: 2}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scarce")
    make_model("bert", folder / "model", "SEQ_CLS")
    rows = [{"text": f"after {i % 9} comes {i % 7}", "label": i % 2} for i in range(32)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "space.yaml").write_text(SPACE)
    return folder


class Study:
    """A session and one worker of it."""

    def __init__(self, folder, home):
        spec, shape = build.bound(load(folder / "space.yaml"))
        self.store = MemoryStore()
        self.store.create(record_of(spec))
        self.session = StudySession(
            spec,
            problem=build.problem(spec, shape),
            store=self.store,
            sampler=make_sampler(spec.search.sampler, {}, ()),
            clock=lambda: 0.0,
        )
        self.worker = build.make_evaluator(spec, home)

    def run(self, segment, *, room=None):
        """Tell what comes of a segment; returns the rows of every step that was tried."""
        with room_for(room) as tried:
            self.session.tell(segment, self.worker.run(segment, lambda step, metrics: None))
        return tried


@pytest.mark.parametrize("room", [None, 0], ids=["it was the others", "it was the trial"])
def test_memory_that_ran_out_beside_others_counts_when_it_runs_out_alone(folder, tmp_path, room):
    study = Study(folder, tmp_path)
    first, second = study.session.ask(), study.session.ask()
    assert study.run(first, room=0) == [8, 4]  # once more at half the micro-batch
    assert study.store.history("scarce")[first.trial].state is State.RUNNING
    assert study.session.ask() is None  # what runs has to end first
    study.run(second)
    again = study.session.ask()
    assert again == first
    assert study.session.ask() is None  # nothing beside it
    study.run(again, room=room)
    told = study.store.history("scarce")[first.trial]
    if room is None:
        assert told.state is State.COMPLETED
        assert told.provenance["alone"]
        assert "halved" not in told.provenance
    else:
        assert told.failure.reason is FailureReason.OUT_OF_MEMORY
        assert told.failure.teaches
        assert "(also as {'per_device_train_batch_size': 4" in told.failure.message
    assert study.session.ask().trial == 2  # the search goes on
