"""What is kept of a study's files, by their keys."""

from dataclasses import replace

from fakes import (
    IA3,
    FakeEvaluator,
    MemoryStore,
    RandomSampler,
    fake_problem,
    record_of,
    study_spec,
)

from autopeft.artifacts import Artifacts
from autopeft.domain.errors import ArtifactError
from autopeft.domain.objective import Constraint
from autopeft.domain.study import Rungs
from autopeft.domain.trial import Failure, FailureReason, Result, State
from autopeft.orchestrator.housekeeping import DistantHousekeeper
from autopeft.orchestrator.retention import kept_adapters, needless
from autopeft.orchestrator.session import StudySession

SPEC = study_spec(trials=9, rungs=Rungs("epochs", (1, 3, 9)))


def test_what_a_moving_limit_may_bring_back_stays_until_the_study_is_finished():
    limit = Constraint.parse("step_ms <= baselines.house.step_ms")
    spec = replace(study_spec(trials=8, branches={"ia3": IA3}), constraints=(limit,))
    store = MemoryStore()
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 0.0
    )
    house = iter([(0.60, 10.0), (0.70, 20.0), (0.5, 20.0), (0.5, 20.0)])
    own = iter([(0.80, 15.0), (0.62, 9.0), (0.61, 9.0), (0.6, 9.0)])
    lost = set()
    while (segment := session.ask()) is not None:
        accuracy, ms = next(house if session.trials[-1].baseline else own)
        session.tell(segment, Result(step=1, metrics={"accuracy": accuracy, "step_ms": ms}))
        assert lost.isdisjoint(member.number for member in session.front)
        lost |= {t.number for t in session.trials if t.rungs} - session.kept
    told = {t.number: t.metrics["accuracy"] for t in session.trials}
    assert any(told[member.number] == 0.80 for member in session.front)
    assert lost  # the last two of each
    assert kept_adapters(spec, session.trials) == {t.number for t in session.front} | {
        number for number, accuracy in told.items() if accuracy == 0.70
    }


class Uploading(FakeEvaluator):
    """Leaves what a worker would."""

    def __init__(self, artifacts, folder):
        super().__init__()
        self._artifacts, self._folder = artifacts, folder

    def run(self, segment, report):
        name = "adapters/trial-{}" if segment.last else "checkpoints/trial-{}/rung-{}"
        self._artifacts.put(self._folder, f"fake/{name.format(segment.trial, segment.rung)}")
        return super().run(segment, report)


def searched(artifacts, folder, listeners=(), limit=1000):
    store = MemoryStore()
    store.create(record_of(SPEC))
    session = StudySession(
        SPEC,
        problem=fake_problem(SPEC),
        store=store,
        sampler=RandomSampler(),
        clock=lambda: 0.0,
        listeners=listeners,
    )
    evaluator, ran = Uploading(artifacts, folder), 0
    while ran < limit and (segment := session.ask()) is not None:
        session.tell(segment, evaluator.run(segment, lambda step, metrics: None))
        ran += 1
    return session


def expected(trials, *, finished):
    """By trial, in words of the rule."""
    keys = {f"fake/adapters/trial-{n}" for n in kept_adapters(SPEC, trials, finished=finished)}
    for trial in trials:
        if trial.state is State.PAUSED and not finished:
            keys.add(f"fake/checkpoints/trial-{trial.number}/rung-{trial.next_rung - 1}")
    return keys


def test_the_rule_names_what_is_not_needed(tmp_path):
    artifacts = Artifacts(f"memory://{tmp_path.name}/rule")
    session = searched(artifacts, tmp_path, limit=11)
    trials, there = session.trials, artifacts.keys("fake")
    assert any(trial.state is State.PAUSED for trial in trials)
    kept = there - set(needless(SPEC, trials, there, finished=False))
    assert kept == expected(trials, finished=False)
    assert there - set(needless(SPEC, trials, there, finished=True)) == expected(
        trials, finished=True
    )
    promoted = next(t for t in trials if t.state is State.PAUSED).promoted()
    number, rung = promoted.number, promoted.next_rung
    keys = [f"fake/checkpoints/trial-{number}/rung-{r}" for r in range(rung + 1)]
    running = [promoted if t.number == number else t for t in trials]
    assert needless(SPEC, running, keys, finished=True) == keys[: rung - 1]
    failed = promoted.failed(Failure(FailureReason.ERROR, "x"))
    keys += [f"fake/adapters/trial-{number}", "fake/adapters/trial-99", "fake/notes"]
    gone = needless(SPEC, [replace(failed, number=number)], keys, finished=False)
    assert set(keys) - set(gone) == {"fake/adapters/trial-99", "fake/notes"}


def test_a_housekeeper_leaves_what_the_rule_keeps(tmp_path):
    artifacts = Artifacts(f"memory://{tmp_path.name}/kept")
    artifacts.put(tmp_path, "fake/adapters/trial-77")  # of a trial that the store does not know
    session, keeper = None, None
    keeper = DistantHousekeeper(SPEC, artifacts, lambda: session.trials if session else ())
    keeper.start()
    session = searched(artifacts, tmp_path, [lambda trial: keeper.heard(trial)], limit=11)
    keeper.close(finished=False, timeout_s=10)
    unknown = {"fake/adapters/trial-77"}
    assert artifacts.keys("fake") == expected(session.trials, finished=False) | unknown
    # The next driver finds what this one left, and ends the study.
    later = DistantHousekeeper(SPEC, artifacts, lambda: session.trials)
    later.start()
    later.close(finished=True, timeout_s=10)
    assert artifacts.keys("fake") == expected(session.trials, finished=True) | unknown


class Away(Artifacts):
    """Deletes nothing, so many times."""

    def __init__(self, url, times):
        super().__init__(url)
        self.times = times

    def forget(self, key):
        self.times -= 1
        if self.times >= 0:
            raise ArtifactError("the network is away")
        super().forget(key)


def test_what_could_not_be_deleted_is_said_once_and_deleted_later(tmp_path, caplog):
    artifacts = Away(f"memory://{tmp_path.name}/away", 2)
    session = searched(artifacts, tmp_path)
    keeper = DistantHousekeeper(SPEC, artifacts, lambda: session.trials)
    keeper.start()
    for trial in (*session.trials, *session.trials):
        keeper.heard(trial)
        keeper._thread.join(0.01)
    keeper.close(finished=True, timeout_s=10)
    assert artifacts.keys("fake") == expected(session.trials, finished=True)
    assert caplog.text.count("the network is away") == 1
