"""The record of the protocol: rows of the trials that a store has, and what is there already."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lines

_SAME = ("kind", "task", "study", "source", "party", "trial", "seed")


def of_study(task: str, study: str) -> Iterator[dict[str, Any]]:
    """A row for every trial of a study that has ended; none where the store has no such study."""
    from autopeft import build
    from autopeft.domain.networks.describe import describe
    from autopeft.home import Home

    store = build.open_store(Home.from_environment())
    if study not in {record.name for record in store.studies()}:
        return
    for trial in store.history(study):
        if not trial.rungs and trial.failure is None:
            continue
        rung = trial.rungs[-1] if trial.rungs else None
        yield {
            "kind": "run",
            "task": task,
            "study": study,
            "trial": trial.number,
            "seed": trial.seed,
            "confirms": trial.confirms,
            "baseline": trial.configuration.branch if trial.baseline else None,
            "name": describe(trial.configuration),
            "trainable_params": trial.known["trainable_params"],
            "accuracy": rung and rung.metrics["accuracy"],
            "test": rung and rung.test.get("accuracy"),
            "seconds": round(trial.seconds, 1),
            "failure": trial.failure and trial.failure.message,
        }


def identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in _SAME)


def there(file: Path, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The recorded row of this identity, the last one; None where there is none."""
    found = [old for old in lines.read(file) if identity(old) == identity(row)]
    return found[-1] if found else None


def record(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add the rows that the record lacks; of what is told anew the last row counts."""
    have = {identity(row): row for row in lines.read(file)}
    with lines.appending(file) as stream:
        for row in rows:
            if have.get(identity(row)) != row:
                lines.append(stream, row)
