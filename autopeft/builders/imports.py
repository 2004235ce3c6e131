"""What others measured, as a study of the store."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from autopeft import config
from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Store, StudyRecord
from autopeft.domain.tasks import KINDS
from autopeft.namespaces import RULE, check_free, own_name

if TYPE_CHECKING:
    from autopeft.importing import Source


@dataclass(frozen=True)
class ImportedStudy:
    """trials: how many there are now; notes: what was taken and what was left out."""

    trials: int
    notes: tuple[str, ...]


def import_study(
    store: Store,
    *,
    name: str,
    kind: str,
    source: str,
    model: str | None,
    task: str,
    metrics: Sequence[str],
    optuna_study: str | None,
) -> ImportedStudy:
    """Store what others measured as a study of its own.

    kind: `peft-suite`, `optuna` or `csv`; the rest as `autopeft import` takes it.

    Raises:
        AutopeftError: the source, its metrics or the model cannot be read, or nothing is left.
        StudyError: the name is taken.
    """
    from autopeft.importing import read_source

    found = read_source(kind, source, metrics, partial(_optuna_rows, study=optuna_study))
    trained = model or found.model
    if trained is None:
        raise AutopeftError("import needs the model that was trained, got none: --model FOLDER")
    return _store_import(store, name, found, {"model_name_or_path": trained, "task_type": task})


def _optuna_rows(url: str, *, study: str | None) -> Any:
    from autopeft.search.optuna.storage import read_storage

    return read_storage(url, study)


def _store_import(
    store: Store, name: str, found: "Source", model: Mapping[str, Any]
) -> ImportedStudy:
    from autopeft.importing import document_of, trials_of
    from autopeft.training.loading.shapes import model_shape

    folder = os.getcwd()
    if not config.is_study_name(name):
        raise AutopeftError(f"a study takes {RULE}, got {name!r}")
    if model["task_type"] not in KINDS:
        raise AutopeftError(f"--task takes {', '.join(KINDS)}, got {model['task_type']!r}")
    now = time.time()
    shape = model_shape(model, folder=folder, num_labels=2)
    trials, left_out = trials_of(found.results, shape, objectives=found.objectives, now=now)
    left_out = [*found.left_out, *left_out]
    if not trials:
        why = f": {left_out[0]}" if left_out else ""
        raise AutopeftError(f"nothing of {found.name} can be imported{why}")
    document = document_of(
        name,
        kind=found.kind,
        source=found.name,
        model=model,
        objectives=found.objectives,
        branches=sorted({trial.configuration.branch for trial in trials}),
        trials=len(trials),
    )
    check_free(name, (record.name for record in store.studies()))
    store.create(StudyRecord(name, document, folder, now, "imported", owner=own_name()))
    store.commit(name, trials, [])
    return ImportedStudy(len(trials), (*found.notes, *(f"left out: {t}" for t in left_out)))
