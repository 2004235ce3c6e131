"""The way into a study: by its space file, or by its name where the store has it.

A file that was edited under a study is refused with the difference shown: what its trials were
compared on has to stay what it was.
"""

import time
from dataclasses import replace

from autopeft import config, warm_start
from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event, Store, StudyRecord
from autopeft.domain.study import StudySpec
from autopeft.importing import refuse_imported
from autopeft.namespaces import check_free, own_name
from autopeft.orchestrator.lease import holder
from autopeft.records import spec_of


def enter(spec: StudySpec, store: Store, *, new: bool = False, extend: bool = False) -> StudySpec:
    """Create the study, or come back to it; the spec that counts is returned.

    new: where the name is taken, take the next free one (`rte-2`).
    extend: accept a file that only widens the stored one.

    Raises:
        StudyError: the file differs from the study's; the message shows where. Or it starts from
            a study that is not there.
    """
    names = {record.name for record in store.studies()}
    if spec.name not in names:
        return _create(spec, store)
    record = store.study(spec.name)
    changed = config.difference(record.document, spec.document)
    if new:
        free = next(f"{spec.name}-{i}" for i in range(2, 10**6) if f"{spec.name}-{i}" not in names)
        document = {**spec.document, "study": free}
        return _create(replace(spec, name=free, document=document), store)
    if not changed:
        if record.folder != spec.folder and holder(store, spec.name) is None:
            store.update(replace(record, folder=spec.folder))  # `resume` finds the files there
        return spec
    if not store.history(spec.name) and not store.recall(spec.name):  # it never began
        warm_start.check(spec, store)
        store.update(replace(record, document=spec.document, folder=spec.folder))
        return spec
    if extend and config.widens(record.document, spec.document):
        wider = replace(record, document=spec.document, folder=spec.folder, state="running")
        store.update(wider)
        return spec
    how = (
        "--extend takes only what keeps earlier trials valid (options at the end of a choice, "
        "wider ranges, more branches, another budget or search.stop)"
        if extend
        else "use --extend to widen the study, or --new to start another"
    )
    raise StudyError(
        f"study {spec.name!r} exists with another space file; {how}. What changed:\n{changed}"
    )


def stored(name: str, store: Store) -> StudySpec:
    """The spec of a study in the store.

    Raises:
        StudyError: there is none of this name.
    """
    return spec_of(store.study(name))


def trained(name: str, store: Store) -> StudySpec:
    """The spec of a study that can be trained.

    Raises:
        StudyError: there is none of this name, or it was imported.
    """
    spec = stored(name, store)
    refuse_imported(spec)
    return spec


def _create(spec: StudySpec, store: Store) -> StudySpec:
    warm_start.check(spec, store)
    now = time.time()
    check_free(spec.name, (record.name for record in store.studies()))
    made = StudyRecord(spec.name, spec.document, spec.folder, now, "running", owner=own_name())
    store.create(made)
    payload = {"name": spec.name, "document": dict(spec.document)}
    store.commit(spec.name, [], [Event("study_started", None, now, payload)])
    return spec
