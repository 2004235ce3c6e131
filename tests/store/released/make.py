"""Writes the store of the newest schema: run once, by the code that the migration comes with.

PYTHONPATH=.:tests python tests/store/released/make.py    # writes tests/store/released/NNNN.sql
"""

import itertools
import sqlite3
import tempfile
from pathlib import Path

from fakes import RandomSampler, fake_problem

from autopeft import entry
from autopeft.config import load
from autopeft.domain.trial import Failure, FailureReason, Result
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore
from autopeft.store.upgrade import known_revisions

SPACE = """
autopeft: 1
study: old
model: {model_name_or_path: bert, task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
  columns: {text: text, label: label}
training: {num_train_epochs: 4}
space:
  lora:
    layers: {last: {choice: [1, 2, 3]}}
    modules: [{peft_type: LORA, r: {choice: [1, 2, 4, 8]}, target_modules: [query, value]}]
    training: {learning_rate: {low: 1e-5, high: 1e-2, log: true}}
objectives: [{metric: accuracy, goal: maximize}, {metric: adapter_params, goal: minimize, scale: log}]
budget: {trials: 5}
search: {sampler: random, rungs: {epochs: [1]}}
"""


def result(segment):
    if segment.trial == 2:
        return Failure(FailureReason.NOT_FINITE, "loss is nan", "Traceback ...")
    return Result(
        step=10 if segment.last else 2,
        metrics={"accuracy": 0.5 + segment.trial / 100, "grad_norm": float("nan")},
        stderr={"accuracy": 0.01},
        seconds=1.5,
        started=1.7637e9,
        ended=1.7637e9 + 1.5,
        worker="old:1",
        provenance={"versions": {"autopeft": "0"}},
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "space.yaml").write_text(SPACE)
        store = SqlStore(f"sqlite:///{folder}/a.db")
        spec = entry.enter(load(Path(folder) / "space.yaml"), store)
        seconds = itertools.count(1763700000)
        session = StudySession(
            spec,
            problem=fake_problem(spec),
            store=store,
            sampler=RandomSampler(),
            clock=lambda: float(next(seconds)),
        )
        for _ in range(6):
            segment = session.ask()
            session.report(segment, [(1, {"accuracy": 0.1})])
            session.tell(segment, result(segment))
        store.remember("old", "mlflow.experiment", "7")
        session.ask()  # its driver was killed while this one ran
        store._engine.dispose()
        with sqlite3.connect(f"{folder}/a.db") as connection:
            text = "\n".join(connection.iterdump()).replace(folder, "/studies/old")
    Path(__file__).with_name(f"{known_revisions()[0]}.sql").write_text(text + "\n")


if __name__ == "__main__":
    main()
