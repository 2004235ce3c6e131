"""A worker whose files are kept away: fetched, uploaded, cleared, and nobody's fault when it fails.

The evaluator inside is the real one, on a tiny model.
"""

import shutil
import tempfile
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_study import write_study

from autopeft import build
from autopeft.artifacts import Artifacts, DistantEvaluator
from autopeft.config import load
from autopeft.domain.errors import ArtifactError
from autopeft.domain.trial import FailureReason, Result, Segment, Stop
from autopeft.home import StudyFolder
from autopeft.preemption import Preempted
from autopeft.training import pausing

SPACE = """
study: away
training: {per_device_train_batch_size: 8, num_train_epochs: 3, learning_rate: 1e-3}
modules: [{peft_type: LORA, r: 2, lora_dropout: 0.2, target_modules: [query, value]}]
objectives: [{metric: eval_loss, goal: minimize}]
baselines: {}
budget: {trials: 1}
"""
CHECKPOINTS = [f"away/checkpoints/trial-7/rung-{rung}" for rung in range(2)]
ADAPTER = "away/adapters/trial-7"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("study"), SPACE)
    spec, shape = build.bound(load(folder / "space.yaml"))
    segments = [
        Segment(
            spec.name,
            7,
            build.problem(spec, shape).configure({"branch": "main"}),
            0,
            rung,
            Stop(epochs=rung + 1) if rung < 2 else Stop(),
            resume=rung > 0,
            last=rung == 2,
        )
        for rung in range(3)
    ]
    home = tmp_path_factory.mktemp("home")
    here = build.make_evaluator(spec, home)
    results = [here.run(segment, quiet) for segment in segments]
    assert all(isinstance(result, Result) for result in results)
    return spec, segments, results, here


def quiet(step, metrics):
    pass


@pytest.fixture
def own_tmp(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def place(request) -> Artifacts:
    return Artifacts(f"memory://worker/{abs(hash(request.node.name))}")


def worker(spec, place):
    return DistantEvaluator(partial(build.make_evaluator, spec), place.url, spec.name)


def scratch(folder: Path) -> set[str]:
    files = (path for path in folder.glob("*/away/**/*") if path.is_file())
    return {path.parent.relative_to(folder).as_posix().partition("/")[2] for path in files}


def test_rungs_on_two_workers_are_those_of_one_and_only_the_last_checkpoint_stays(
    study, place, own_tmp, monkeypatch
):
    spec, segments, here, evaluator = study
    adapter = evaluator._home / ADAPTER
    first, second = worker(spec, place), worker(spec, place)
    away = [first.run(segments[0], quiet), second.run(segments[1], quiet)]
    assert place.keys("away") == set(CHECKPOINTS)
    assert scratch(own_tmp) == set(CHECKPOINTS)
    fetched = []
    get = Artifacts.get
    monkeypatch.setattr(Artifacts, "get", lambda *a: fetched.append(a) or get(*a))
    away.append(second.run(segments[2], quiet))
    assert CHECKPOINTS[1] not in {key for _, key, _ in fetched}  # it has it
    assert [r.metrics["eval_loss"] for r in away] == [r.metrics["eval_loss"] for r in here]
    assert [r.provenance["resumed"] for r in away] == [False, True, True]
    copy = place.cached(ADAPTER, own_tmp)
    name = "adapter_model.safetensors"
    kept, same = load_file(copy / name), load_file(adapter / name)
    assert all(kept[n].equal(same[n]) for n in same)
    assert len(kept) == len(same)
    del first, second
    assert [path.name for path in own_tmp.iterdir()] == [copy.name]


class Noting:
    """Leaves a file, and says what it found of the rung before."""

    def __init__(self, home: Path) -> None:
        self._folder = StudyFolder(home / "away")

    def run(self, segment, report):
        origin = self._folder.checkpoint(segment.trial, segment.rung - 1) / "state"
        found = float(origin.read_text()) if origin.exists() else 0.0
        to = self._folder.checkpoint(segment.trial, segment.rung)
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        (to / "state").write_text(str(found + 1))
        return Result(step=1, metrics={"found": found})


def noting(place):
    return DistantEvaluator(Noting, place.url, "away")


@pytest.mark.parametrize("harm", ["missing", "changed", "trained again"])
def test_what_is_not_kept_any_more_is_not_resumed(study, place, own_tmp, harm, caplog):
    _, segments, _, _ = study
    first = noting(place)
    first.run(segments[0], quiet)
    if harm == "missing":
        place.forget(CHECKPOINTS[0])
    elif harm == "changed":
        place._fs.pipe_file(f"{place._at(CHECKPOINTS[0])}/state", b"9")
        first = noting(place)
    else:  # elsewhere: the copy here no longer counts
        (own_tmp / "other").mkdir()
        (own_tmp / "other" / "state").write_text("5")
        place.put(own_tmp / "other", CHECKPOINTS[0])
    found = {"missing": 0.0, "changed": 0.0, "trained again": 5.0}
    assert first.run(segments[1], quiet).metrics["found"] == found[harm]
    assert ("trains from the start again" in caplog.text) is (harm == "changed")


class Leaving(Noting):
    """Its machine goes away after the checkpoint."""

    def run(self, segment, report):
        super().run(segment, report)
        raise Preempted("the node is drained")


def test_what_was_cut_short_goes_on_elsewhere(study, place, own_tmp):
    _, segments, _, _ = study
    with pytest.raises(Preempted):
        DistantEvaluator(Leaving, place.url, "away").run(segments[0], quiet)
    assert place.keys("away") == {CHECKPOINTS[0]}
    other = noting(place)
    other._fetch(segments[0])
    assert scratch(own_tmp) == {CHECKPOINTS[0]}


def test_a_place_that_is_away_fails_no_configuration(study, place, own_tmp, monkeypatch):
    _, segments, _, _ = study

    def away(*arguments):
        raise ArtifactError("s3://bucket: the network is away")

    one = noting(place)
    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "put", away)
        failure = one.run(segments[0], quiet)
    assert failure.reason is FailureReason.INFRASTRUCTURE
    assert failure.message == "s3://bucket: the network is away"
    assert not failure.teaches
    assert scratch(own_tmp) == set()
    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "get", away)
        assert one.run(segments[1], quiet).reason is FailureReason.INFRASTRUCTURE
    assert isinstance(one.run(segments[0], quiet), Result)


def test_a_full_disk_is_no_configuration_s_fault_and_leaves_no_half_checkpoint(study, monkeypatch):
    _, segments, _, evaluator = study

    def full(tensors, path):
        path.write_bytes(b"half")
        raise Exception("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(pausing, "save_file", full)
    failure = evaluator.run(segments[0], quiet)
    assert failure.reason is FailureReason.INFRASTRUCTURE
    assert "a disk is full on" in failure.message
    left = StudyFolder(evaluator._home / "away").checkpoints(7)
    assert not any(path.name.startswith(".") for path in left.iterdir())
