"""`--submit`: a verb that trains, handed to the cluster; and what is checked before."""

import json
import os
import time
import uuid
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from autopeft.domain.errors import AutopeftError, StudyError
from autopeft.home import Home

if TYPE_CHECKING:
    from autopeft.domain.ports import Store
    from autopeft.domain.study import StudySpec
    from autopeft.orchestrator.jobs import Jobs, JobState

_LOOK_S = 1.0
_TOLD = 30  # lines of a job that failed without a word of ours
_SENT = ("AUTOPEFT_NAMESPACE", "AUTOPEFT_OWNER")  # what belongs to the user, not to the cluster


def submit_search(
    space: Path, overrides: Sequence[str], flags: Sequence[str], *, quiet: bool, as_json: bool
) -> None:
    """Check what can be checked here, send the file with what it names, and see it begin.

    flags: `--new`, `--extend` and `--control`, as they were given.
    """
    from autopeft import build, parcel
    from autopeft.config import load
    from autopeft.orchestrator.jobs import Jobs
    from autopeft.orchestrator.lease import refuse_busy

    spec = load(space, overrides)
    files = parcel.pack(spec, space)
    _check_here(spec, space, quiet=quiet)
    jobs, store = Jobs(), build.open_store(Home.from_environment())
    name = f"{spec.name}-control" if "--control" in flags else spec.name
    if "--new" not in flags and name in {record.name for record in store.studies()}:
        refuse_busy(store, name)
    if not quiet:
        _say(f"sending {len(files.files)} files ({_size(files)})")
        if elsewhere := parcel.absolute_paths(spec.document):
            _say(f"read on the cluster, from there: {', '.join(elsewhere)}")
    chosen = [f"--set={override}" for override in overrides]
    request = {
        "arguments": ["search", *chosen, *flags],
        "space": space.resolve().name,
        "parcel": files.digest,
    }
    _submit(jobs, store, name, request, files, quiet=quiet, as_json=as_json)


def submit_study(
    study: str, arguments: Sequence[str], *, quiet: bool, as_json: bool = False
) -> None:
    """`resume` or `confirm` of a study that the store has.

    arguments: the verb, and what follows.
    """
    from autopeft import build, entry, parcel
    from autopeft.orchestrator.jobs import Jobs
    from autopeft.orchestrator.lease import refuse_busy

    jobs, store = Jobs(), build.open_store(Home.from_environment())
    entry.trained(study, store)
    refuse_busy(store, study)
    request = {"arguments": [*arguments], "space": "", "parcel": ""}
    _submit(jobs, store, study, request, parcel.NOTHING, quiet=quiet, as_json=as_json)


def _submit(
    jobs: "Jobs",
    store: "Store",
    name: str,
    request: dict[str, Any],
    files: Any,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    from autopeft.job_entry import versions
    from autopeft.namespaces import own_name
    from autopeft.orchestrator.jobs import packaged

    job = f"{name.replace('/', '-')}-{uuid.uuid4().hex[:8]}"
    told = json.dumps({**request, "store": store.identity(), "versions": versions()})
    variables = {key: os.environ[key] for key in _SENT if os.environ.get(key)}
    if owner := own_name():
        variables.setdefault("AUTOPEFT_OWNER", owner)
    with packaged(told, files) as package:
        jobs.submit(job, package, variables)
    if not quiet:
        _say(f"job {job} was handed over; Ctrl-C ends this command, and not the job")
    try:
        study = _begun(jobs, store, name, job)
    except LostError as error:
        raise StudyError(f"job {job} was handed over and may go on, but {error}") from error
    except KeyboardInterrupt:
        _say(f"\njob {job} goes on: autopeft status {name}")
        raise typer.Exit(130) from None
    _tell(study, job, as_json=as_json)


class LostError(AutopeftError):
    """The job server or the store does not answer any more."""


def _begun(jobs: "Jobs", store: "Store", name: str, job: str) -> str:
    """The study that the job searches, once it does.

    Raises:
        Exit: there was nothing to search, as the job said.
        LostError: nobody can be asked.
        StudyError: the job ended before, with what it said.
    """
    from autopeft.orchestrator.lease import study_of

    while True:
        try:
            state, found = jobs.state(job), study_of(store, job)
            printed = jobs.logs(job) if state.ended else ""
        except StudyError as error:
            raise LostError(str(error)) from error
        if found is not None:
            return found
        if state.ended:
            _ended(state, printed, name, job)
            raise typer.Exit
        time.sleep(_LOOK_S)


def _ended(state: "JobState", printed: str, name: str, job: str) -> None:
    """Say what a job printed that ended before it began to search, or had nothing to do."""
    lines = printed.rstrip().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    if not state.failed:
        _say("\n".join(lines[-_TOLD:]))
        return
    if starts:
        raise StudyError("on the cluster: " + "\n".join(lines[starts[-1] :])[len("error: ") :])
    said = "\n".join(lines[-_TOLD:]) or state.said
    raise StudyError(f"job {job} for study {name} ended before it searched: {said}")


def _tell(study: str, job: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"study": study, "job": job}, indent=2))
        return
    print(f"study {study} is searched on the cluster by job {job}")
    for verb in ("status", "logs --follow", "stop"):
        word, *options = verb.split()
        print("  " + " ".join(["autopeft", word, study, *options]))


def _check_here(spec: "StudySpec", space: Path, *, quiet: bool) -> None:
    """Model, data and code, as far as they are on this machine; the cluster checks everything.

    Raises:
        AutopeftError: what is here is wrong.
    """
    from autopeft import build, parcel
    from autopeft.training.own_function import OwnCodeError

    missing = [path for path in parcel.absolute_paths(spec.document) if not Path(path).exists()]
    unseen = [*missing, *([spec.model["model_name_or_path"]] if _far_model(spec) else [])]
    unseen = list(dict.fromkeys(map(str, [*unseen, *_far_data(spec)])))
    if unseen and not quiet:
        _say(f"not on this machine, checked on the cluster: {', '.join(unseen)}")
    if not unseen:
        found, shape = build.bound(spec, space)
        build.check_sampler(found, shape)
        build.check_reach(found, shape, space)
    if any(spec.evaluator and path == spec.evaluator.working_dir for path in missing):
        return
    try:
        build.check_own_code(spec)
    except OwnCodeError as error:
        # A library that only the cluster has is no mistake.
        cause = error.__cause__
        if not isinstance(cause, ModuleNotFoundError) or _theirs(str(cause.name), spec):
            raise
        if not quiet:
            _say(f"{cause.name} is not installed here: your code is checked on the cluster")


def _theirs(module: str, spec: "StudySpec") -> bool:
    """Whether a module belongs to what is sent."""
    codes = [own.code for own in spec.own_metrics.values()]
    codes += [spec.evaluator] if spec.evaluator else []
    package = module.partition(".")[0]
    roots = [Path(spec.folder) / code.working_dir for code in codes]
    there = any((root / f"{package}.py").is_file() or (root / package).is_dir() for root in roots)
    return there or any(code.module.partition(".")[0] == package for code in codes)


def _far_model(spec: "StudySpec") -> bool:
    """Whether the model is one of the hub, or of a package that is not installed here."""
    name = str(spec.model.get("model_name_or_path", ""))
    if name.startswith("package:"):
        return find_spec(name.removeprefix("package:").partition("/")[0]) is None
    if not name or name.startswith((".", "/", "~")):  # a path that is not there is a mistake
        return False
    return not (Path(spec.folder) / name).is_dir()


def _far_data(spec: "StudySpec") -> list[str]:
    """The data sets of the hub; files by an address too."""
    found = []
    for split in spec.data.values():
        path = split.get("path") if isinstance(split, dict) else None
        if path is None:
            continue
        files = split.get("data_files", [])
        listed = [files] if isinstance(files, str) else list(files)
        local = (Path(spec.folder) / path).is_dir() or "data_files" in split or "data_dir" in split
        far = [name for name in listed if "://" in str(name)]
        found += far or ([] if local else [path])
    return list(dict.fromkeys(map(str, found)))


def _size(files: Any) -> str:
    size = sum(path.stat().st_size for path in files.files.values())
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"


def _say(text: str) -> None:
    from autopeft.terminal import talk

    talk.print(text, markup=False, highlight=False, soft_wrap=True)


def refuse_local(local: bool) -> None:
    """Raises:
    AutopeftError: `--local` beside `--submit`.
    """
    if local:
        raise AutopeftError("--submit searches on the cluster, --local here: take one of them")
