"""The studies of a store: one row each."""

import time
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from autopeft.domain.ports import Store, StudyRecord
from autopeft.domain.results.replicates import searched
from autopeft.domain.trial import State
from autopeft.namespaces import namespace_of


def study_rows(store: Store, *, namespace: str | None = None) -> list[dict[str, Any]]:
    """As `studies --json` prints them, the newest last.

    namespace: whose studies; "": those without one; None: all. trials: of the search, by state;
    seconds: wall time that drivers have spent.
    """
    return [
        _row(store, record)
        for record in store.studies()
        if namespace is None or namespace_of(record.name) == namespace
    ]


def _row(store: Store, record: StudyRecord) -> dict[str, Any]:
    own = searched(store.history(record.name))
    states = [str(trial.state) for trial in own]
    return {
        "study": record.name,
        "state": record.state,
        "owner": record.owner,
        "created": record.created,
        "seconds": record.seconds,
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "model": _model(record),
    }


def _model(record: StudyRecord) -> str | None:
    model = record.document.get("model")
    return model.get("model_name_or_path") if isinstance(model, dict) else None


def studies_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for name in ("study", "owner", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("trials", "completed", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("began", no_wrap=True)
    table.add_column("model", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        trials = row["trials"]
        table.add_row(
            Text(row["study"], style="cyan"),
            Text(row["owner"] or "-"),
            row["state"],
            str(sum(trials.values())),
            str(trials.get(State.COMPLETED, 0)),
            str(trials.get(State.FAILED, 0)),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created"])),
            Text(row["model"] or "-", style="dim"),
        )
    return table
