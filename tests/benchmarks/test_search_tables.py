"""The recorded landscapes of benchmarks/search: grid, record, table, replay."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from fakes import (
    FakeEvaluator,
    MemoryStore,
    RandomSampler,
    drive,
    fake_problem,
    record_of,
    study_spec,
)

from autopeft.domain.errors import AutopeftError
from autopeft.domain.space import Branch, Choice, Range
from autopeft.domain.study import Rungs
from autopeft.domain.trial import Failure, Segment, Stop
from autopeft.orchestrator.session import StudySession

FOLDER = Path(__file__).parents[2] / "benchmarks" / "search"
sys.path.insert(0, str(FOLDER))

import grid  # noqa: E402
import lines  # noqa: E402
import record  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402
import worker  # noqa: E402
from replay import Replay  # noqa: E402

GRID = {
    "lora": {
        "modules": [
            {"peft_type": "LORA", "r": Choice((1, 4)), "target_modules": ["query", "value"]}
        ],
        "layers": Choice(([0, 1], [4, 5])),
        "training": {"learning_rate": Choice((1e-3, 3e-3))},
    },
    "ia3": {
        "modules": [{"peft_type": "IA3", "target_modules": ["key"], "feedforward_modules": []}],
        "training": {"learning_rate": Choice((1e-3, 1e-1))},
    },
}
ORIGIN = {"rungs": {"steps": [3]}}


class StepEvaluator(FakeEvaluator):
    """The fake trainer, with rungs by steps of nine."""

    def run(self, segment, report):
        stop = Stop(epochs=segment.stop.steps)
        return super().run(Segment(**{**vars(segment), "stop": stop}), report)


@pytest.fixture
def study():
    spec = study_spec(branches=GRID, baselines={}, trials=40, rungs=Rungs("steps", (3,)))
    return spec, fake_problem(spec)


@pytest.fixture
def recorded(study, tmp_path, monkeypatch):
    """The table of the whole grid and of two second seeds; IA3 at a rate of 0.1 fails."""
    spec, problem = study
    monkeypatch.setattr(worker, "_here", (StepEvaluator(fail_above=0.05), spec, tmp_path))
    return rows.of_record([worker.run(job) for job in grid.jobs(spec, problem, seeds_on=2)], ORIGIN)


@pytest.fixture
def threads(monkeypatch):
    """Threads in the place of worker processes."""
    monkeypatch.setattr(record, "_workers", lambda count, *_: ThreadPoolExecutor(count))


def test_the_grid_is_every_configuration_once_in_one_fixed_order(study):
    first, again = (grid.cells(*study) for _ in range(2))
    assert len(first) == len({cell.configuration.key for cell in first}) == 2 * 2 * 2 + 2
    assert [cell.point for cell in first] == [cell.point for cell in again]
    listed = [point for branch in study[0].space.searched for point in grid.points(branch)]
    assert [cell.point for cell in first] != listed


def test_a_variable_inside_an_option_varies_only_where_that_is_taken():
    branch = Branch("lora", {"modules": Choice(([], [{"r": Choice((1, 2))}]))})
    assert [dict(point) for point in grid.points(branch)] == [
        {"branch": "lora", "modules": 0},
        {"branch": "lora", "modules": 1, "modules<1>[0].r": 0},
        {"branch": "lora", "modules": 1, "modules<1>[0].r": 1},
    ]


def test_a_range_is_no_grid():
    branch = Branch("lora", {"training": {"learning_rate": Range(1e-4, 1e-2)}})
    with pytest.raises(AutopeftError, match="choices only, got a range at space.lora.training"):
        list(grid.points(branch))


def test_second_seeds_come_last_and_on_the_same_cells_each_time(study):
    jobs = grid.jobs(*study, seeds_on=3)
    assert [job.seed for job in jobs] == [0] * 10 + [1] * 3
    assert [job.identity for job in jobs] == [j.identity for j in grid.jobs(*study, seeds_on=3)]


def test_a_missing_space_file_is_one_message(tmp_path):
    with pytest.raises(AutopeftError, match="cannot be read"):
        record.record(tmp_path / "none.yaml", tmp_path, 1, 0)


def test_every_job_is_run_once(study, tmp_path, threads, monkeypatch):
    monkeypatch.setattr(worker, "_here", (StepEvaluator(), study[0], tmp_path))
    jobs = grid.jobs(*study, seeds_on=3)
    found = list(record._trained(tmp_path, jobs, 1))
    assert [(row["key"], row["seed"]) for row in found] == [job.identity for job in jobs]


def test_a_job_that_kills_its_worker_twice_is_a_row_and_the_others_are_trained(
    study, tmp_path, threads, monkeypatch
):
    jobs = grid.jobs(*study, seeds_on=0)

    def run(job):
        if job is jobs[3]:
            raise BrokenProcessPool
        return worker.row(job, [], None, 1.0)

    monkeypatch.setattr(worker, "run", run)
    found = {row["key"]: row["failure"] for row in record._trained(tmp_path, jobs, 2)}
    assert found.keys() == {job.cell.configuration.key for job in jobs}
    assert found.pop(jobs[3].cell.configuration.key)["message"] == "the worker process died"
    assert set(found.values()) == {None}


def test_workers_that_always_die_end_the_recording(study, tmp_path, threads, monkeypatch):
    def run(job):
        raise BrokenProcessPool

    monkeypatch.setattr(worker, "run", run)
    with pytest.raises(AutopeftError, match="workers die before they end a run"):
        list(record._trained(tmp_path, grid.jobs(*study, seeds_on=0), 2))


def test_a_torn_last_line_is_dropped_and_the_record_goes_on(tmp_path):
    file = tmp_path / "record.jsonl"
    file.write_text('{"a": 1}\n{"a": 2')
    assert lines.read(file) == [{"a": 1}]
    with lines.appending(file) as stream:
        lines.append(stream, {"a": 3})
    assert lines.read(file) == [{"a": 1}, {"a": 3}]


def test_one_process_writes_a_record(tmp_path):
    file = tmp_path / "record.jsonl"
    with (
        lines.appending(file),
        pytest.raises(AutopeftError, match="written by another process"),
        lines.appending(file),
    ):
        pass


def test_a_record_does_not_go_on_with_other_versions(tmp_path):
    file = tmp_path / "record.json"
    lines.same_origin(file, {"versions": {"torch": "2.8"}, "commit": "a"})
    lines.same_origin(file, {"versions": {"torch": "2.8"}, "commit": "b"})
    with pytest.raises(AutopeftError, match="names another versions"):
        lines.same_origin(file, {"versions": {"torch": "2.9"}, "commit": "a"})


def test_a_record_does_not_go_on_with_other_rows_as_far_as_one_can_tell(tmp_path):
    for name, before in (("old", "01"), ("new", "rows-1:01")):
        lines.same_origin(tmp_path / name, {"data_fingerprint": before})
    lines.same_origin(tmp_path / "old", {"data_fingerprint": "rows-1:23"})
    with pytest.raises(AutopeftError, match="names another data_fingerprint"):
        lines.same_origin(tmp_path / "new", {"data_fingerprint": "rows-1:23"})


def test_a_table_is_read_as_it_was_written(recorded, tmp_path):
    rows.write(recorded, tmp_path / "tables" / "tiny.parquet")
    assert rows.read(tmp_path / "tables" / "tiny.parquet") == recorded
    row = next(row for row in recorded.rows if row.branch == "lora" and row.size == 4)
    assert row.targets == "attention.self.query attention.self.value"
    assert row.layers in ((True,) * 2 + (False,) * 4, (False,) * 4 + (True,) * 2)
    assert (row.rung, row.stop, row.seed) == (0, 3, 0)


def test_a_failed_configuration_is_a_row_that_says_why(recorded):
    (row,) = {row.failure: row for row in recorded.rows if row.failure}.values()
    assert row.failure == ("not_finite", "loss is nan at 0.1")
    assert (row.branch, row.step, row.metrics) == ("ia3", None, {})


def test_another_file_is_no_table(tmp_path):
    (tmp_path / "other.parquet").write_text("no")
    with pytest.raises(AutopeftError, match="is no table of this benchmark"):
        rows.read(tmp_path / "other.parquet")


def test_records_are_packed_and_described_from_the_command_line(
    study, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(worker, "_here", (StepEvaluator(), study[0], tmp_path / "w"))
    with lines.appending(tmp_path / "tiny.jsonl") as stream:
        for job in grid.jobs(*study, seeds_on=4):
            lines.append(stream, worker.run(job))
    assert table.main(["pack", str(tmp_path / "tiny.jsonl"), "--to", str(tmp_path)]) == 2
    assert "run record.py" in capsys.readouterr().err
    (tmp_path / "tiny.json").write_text(json.dumps(ORIGIN))
    assert table.main(["pack", str(tmp_path / "tiny.jsonl"), "--to", str(tmp_path)]) == 0
    assert table.main(["describe", str(tmp_path / "tiny.parquet")]) == 0
    said = capsys.readouterr().out
    assert "28 rows: 14 runs of 10 configurations, 0 failed." in said
    assert "pooled sd" in said
    assert "0.0000 of 4 pairs" in said  # the fake trainer knows no seed


def test_a_replay_tells_what_the_run_told_rung_by_rung(recorded, study):
    spec, problem = study
    replayed, trained = Replay(recorded), StepEvaluator(fail_above=0.05)
    for cell in grid.cells(spec, problem):
        for rung, stop in enumerate((Stop(steps=3), Stop())):
            segment = Segment("tiny", 0, cell.configuration, 0, rung, stop, rung > 0, rung > 0)
            got, wanted = (e.run(segment, lambda *_: None) for e in (replayed, trained))
            if isinstance(wanted, Failure):
                assert (got.reason, got.message) == (wanted.reason, wanted.message)
                break
            assert (got.step, got.metrics, got.stderr) == (
                wanted.step,
                wanted.metrics,
                wanted.stderr,
            )


def test_a_run_without_rungs_costs_all_its_rungs_and_moves_the_clock(recorded):
    evaluator = Replay(recorded)
    key = next(row.key for row in recorded.last)
    result = evaluator.run(_whole(recorded, key, seed=0), lambda *_: None)
    assert result.seconds == sum(r.seconds for r in recorded.rows if (r.key, r.seed) == (key, 0))
    assert (result.started, result.ended) == (0.0, evaluator.seconds)


def test_a_seed_that_the_table_lacks_is_told_the_first(recorded):
    evaluator, key = Replay(recorded), recorded.last[0].key
    first, other = (evaluator.run(_whole(recorded, key, seed=s), lambda *_: None) for s in (0, 7))
    assert first.metrics == other.metrics


def test_what_is_not_in_the_table_is_a_failure_that_says_so(recorded, study):
    evaluator, key = Replay(recorded), recorded.last[0].key
    segment = _whole(recorded, key, seed=0)
    other = Segment(**{**vars(segment), "stop": Stop(steps=5)})
    assert "rungs at the steps 3 and at the end" in evaluator.run(other, lambda *_: None).message
    few = rows.Table(tuple(row for row in recorded.rows if row.key != key), ORIGIN)
    assert "not in the table" in Replay(few).run(segment, lambda *_: None).message


def test_a_search_of_the_product_runs_on_a_table(recorded, study):
    spec, problem = study
    store = MemoryStore()
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=problem, store=store, sampler=RandomSampler(), clock=lambda: 0.0
    )
    drive(session, Replay(recorded))
    ended = {t.configuration.key: t for t in session.trials if t.state == "completed"}
    assert {t.state for t in session.trials} >= {"completed", "failed"}
    final = {row.key: row.metrics for row in recorded.last if row.seed == 0}
    assert all(trial.rungs[-1].metrics == final[key] for key, trial in ended.items())


def _whole(found: rows.Table, key: str, *, seed: int) -> Segment:
    document = next(row.configuration for row in found.rows if row.key == key)
    configuration = grid.Configuration.from_document(document)
    return Segment("tiny", 0, configuration, seed, 0, Stop(), False, True)
