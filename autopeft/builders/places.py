"""Where a study's checkpoints and adapters lie: decided when it begins, a fact of the study."""

import json
import logging
import shutil
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from autopeft.artifacts import Artifacts, artifacts_url, in_one_process
from autopeft.domain.errors import ArtifactError
from autopeft.domain.ports import Store
from autopeft.domain.study import StudySpec
from autopeft.home import Home, StudyFolder
from autopeft.orchestrator.lease import Lease
from autopeft.parcel import forget

log = logging.getLogger("autopeft")

_FACT = "artifacts"  # {"url": ..., "id": ...}; the id tells studies of one name in two stores apart


def place_of(study: str, store: Store) -> str | None:
    """The URL of a study's files; None: its folder in the home."""
    said = store.recall(study).get(_FACT)
    return None if said is None else str(json.loads(said)["url"])


def claimed(
    spec: StudySpec, home: Home, store: Store, *, begun: bool, local: bool
) -> Artifacts | None:
    """The place of a study that is about to run; None: its folder in the home.

    AUTOPEFT_ARTIFACTS says it for a study without a trial; those that have begun stay where they
    are.

    Raises:
        ArtifactError: the variable names no such place, or it cannot be used.
    """
    given = artifacts_url(home.artifacts) if home.artifacts else None
    said = store.recall(spec.name).get(_FACT)
    kept = None if said is None else json.loads(said)
    if not begun:
        if given is None:
            if said is not None:
                store.swap(spec.name, _FACT, said, None)
            return None
        if kept is None or kept["url"] != given:
            kept = {"url": given, "id": uuid.uuid4().hex}
    elif given and given != (kept and kept["url"]):
        there = kept["url"] if kept else home.study(spec.name)
        log.warning("study %s began with its files in %s, where they stay", spec.name, there)
    if kept is None:
        return None
    if in_one_process(kept["url"]) and not local:
        raise ArtifactError(
            f"AUTOPEFT_ARTIFACTS={kept['url']} is the memory of one process, which no worker on "
            "Ray sees: name another place, or search with --local"
        )
    Artifacts(kept["url"], hasty=True).claim(spec.name, kept["id"])
    store.remember(spec.name, _FACT, json.dumps(kept, sort_keys=True))
    return Artifacts(kept["url"])


def adapter_folder(home: Home, study: str, trial: int, url: str | None) -> Path:
    """The folder of a trained adapter, fetched where its study lies at a URL.

    Its weights are there for the front and the best baselines; what is not kept has no folder.

    Raises:
        ArtifactError: it cannot be fetched, or is damaged.
    """
    folder = home.adapter(study, trial)
    if url is None:
        return folder
    key = StudyFolder(Path(study)).adapter(trial).as_posix()
    copies = home.study(study) / "fetched"
    copies.mkdir(parents=True, exist_ok=True)
    return Artifacts(url).cached(key, copies) or folder


def delete_study(study: str, home: Home, store: Store) -> None:
    """Delete a study: its files first, so that what is interrupted can be said again.

    Of its folder in the home only what is a study's: other studies may lie in it.

    Raises:
        StudyError: it is being searched.
        ArtifactError: its files cannot be deleted; the store still has it then.
    """
    with Lease(store, study, threading.Event()).hold():
        if (url := place_of(study, store)) is not None:
            Artifacts(url).drop(study)
        folder = home.study(study)
        for part in ("checkpoints", "adapters", "fetched"):
            shutil.rmtree(folder / part, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()
        came_in = store.study(study).folder
        store.delete(study)
        forget(came_in, (record.folder for record in store.studies()), home)
