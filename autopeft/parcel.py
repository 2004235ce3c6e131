"""What travels with a search to a cluster: the space file, and what it names beside it.

A relative path travels, an absolute one is read on the cluster as it is. On the cluster the files
lie in the home of the studies, in a folder that is called by their content, so that the study can
go on there later; Ray copies that folder to the nodes whose workers do not see it.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autopeft.domain.errors import StudyError
from autopeft.domain.study import StudySpec
from autopeft.home import Home

FILES = "files"
LIMIT_MIB = 250
"""Of a parcel. Ray keeps it in the memory of the head, and itself refuses 512 MiB."""

_KEPT_BY_TOOLS = ("pyvenv.cfg", "autopeft.db", "mlflow.db")
"""In a virtual environment, and in a home of studies whose store or MLflow is a file."""

_MARK = ".parcel"
_SENT = ".sent"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's first: the same files are the same bytes


@dataclass(frozen=True)
class Parcel:
    """Files by their names in the parcel: as they stand from the space file's folder.

    digest: of names and contents.
    """

    files: Mapping[str, Path]
    digest: str

    def write(self, target: Path, beside: Mapping[str, str]) -> None:
        """A zip of the files, and of texts beside them."""
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as whole:
            for name, text in beside.items():
                whole.writestr(zipfile.ZipInfo(name, _EPOCH), text)
            for name, path in self.files.items():
                entry = zipfile.ZipInfo(f"{FILES}/{name}", _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with path.open("rb") as source, whole.open(entry, "w", force_zip64=True) as sink:
                    shutil.copyfileobj(source, sink)


NOTHING = Parcel({}, "")


def pack(spec: StudySpec, space: Path) -> Parcel:
    """The parcel of a space file: itself, what its texts name beside it, and for code of the
    user's the whole folder, without hidden files, virtual environments and homes of studies.

    Raises:
        StudyError: a path leads out of the folder, or there is too much.
    """
    folder, file = Path(spec.folder), space.resolve()
    roots, outside = [file], []
    for place, text in _texts(spec.document, ""):
        for path in _named(folder, text):
            if path.is_relative_to(folder):
                roots.append(path)
            else:
                outside.append(f"{place}: {text}")
    if outside:
        raise StudyError(
            f"--submit sends what lies beside the space file, in {folder}. These lie outside:\n  "
            + "\n  ".join(dict.fromkeys(outside))
            + "\nMove them there, or name them by an absolute path that all nodes see"
        )
    if sends_code(spec):
        roots.append(folder)
    found = {
        path.relative_to(folder).as_posix(): path for root in roots for path in _below(root, folder)
    }
    files = dict(sorted(found.items()))
    _refuse_large(files)
    return Parcel(files, _digest(files))


def sends_code(spec: StudySpec) -> bool:
    """Whether the user's code lies beside the space file."""
    own = spec.evaluator is not None and not Path(spec.evaluator.working_dir).is_absolute()
    return own or bool(spec.own_metrics)


def absolute_paths(document: Mapping[str, Any]) -> list[str]:
    """What the file names by absolute paths: read on the cluster."""
    found = [text for _, text in _texts(document, "") if text.startswith("/") and len(text) > 1]
    return list(dict.fromkeys(found))


def unpack(files: Path, digest: str, home: Home) -> Path:
    """Keep the files of a parcel in the home of the studies, under their digest; once."""
    target = home.folder / _SENT / digest
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        whole = Path(scratch) / digest
        shutil.copytree(files, whole)
        (whole / _MARK).write_text(digest)
        try:
            whole.rename(target)
        except OSError:  # another job of the same files was quicker
            if not target.is_dir():
                raise
    return target


def sent(folder: str) -> Path | None:
    """The folder of a study that came in a parcel; None: it did not."""
    path = Path(folder)
    return path if path.parent.name == _SENT else None


def forget(folder: str, others: Iterable[str], home: Home) -> None:
    """Delete what came with a deleted study, unless another one goes on with it.

    others: the folders of all studies that are left.
    """
    path = sent(folder)
    if path is not None and path.parent.parent == home.folder and folder not in set(others):
        shutil.rmtree(path, ignore_errors=True)


def refuse_absent(spec: StudySpec) -> None:
    """Raises:
    StudyError: the study's files came in a parcel, which is not on this machine.
    """
    path = sent(spec.folder)
    if path is not None and not path.is_dir():
        raise StudyError(
            f"the files of study {spec.name!r} were sent to a cluster, and {path} is not on this "
            f"machine: go on there (`autopeft resume {spec.name} --submit`), or, where they are "
            "gone there too, send them again (`autopeft search SPACE.YAML --submit`)"
        )


def on_worker(folder: str) -> str:
    """The study's folder, or on a node that does not see it Ray's copy of the same files."""
    path = sent(folder)
    if path is None or path.is_dir():
        return folder
    mark = Path(_MARK)
    return str(Path.cwd()) if mark.is_file() and mark.read_text() == path.name else folder


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text in a document with its dotted place; lists add nothing to it."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner, place)


def _named(folder: Path, text: str) -> list[Path]:
    """What a text names from the folder, if that is there: a file, a folder, or by a pattern."""
    if text in ("", ".", "./") or text.startswith(("/", "~")) or "://" in text or "\0" in text:
        return []
    try:
        path = Path(os.path.normpath(folder / text))
        if path.exists():
            return [path]
        return sorted(folder.glob(text)) if "*" in text or "?" in text else []
    except (OSError, ValueError, NotImplementedError):  # a long text is no name of a file
        return []


def _below(root: Path, folder: Path) -> Iterator[Path]:
    """The files of a folder, links followed, or the file itself."""
    if root.is_file():
        yield root
        return
    seen = set()
    for place, folders, files in os.walk(root, followlinks=True):
        here = Path(place)
        real = here.resolve()
        if real in seen:  # a link in a circle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not _left_out(here / name)]
        yield from (here / n for n in files if n[0] != "." and (here / n).is_file())


def _left_out(folder: Path) -> bool:
    """Hidden, made anew anywhere, or what a tool keeps of its own."""
    if folder.name[0] == "." or folder.name in ("__pycache__", "mlruns"):
        return True
    return any((folder / mark).exists() for mark in _KEPT_BY_TOOLS)


def _refuse_large(files: Mapping[str, Path]) -> None:
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if (total := sum(sizes.values())) <= LIMIT_MIB * 2**20:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    told = ", ".join(f"{name} ({sizes[name] / 2**20:.0f} MiB)" for name in largest)
    raise StudyError(
        f"--submit sends at most {LIMIT_MIB} MiB, the space file's folder has "
        f"{total / 2**20:.0f} MiB that would travel, the largest {told}: put them on a path that "
        "all nodes of the cluster see, and name them by it"
    )


def _digest(files: Mapping[str, Path]) -> str:
    of = {}
    for name, path in files.items():
        with path.open("rb") as source:
            of[name] = hashlib.file_digest(source, "sha256").hexdigest()
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
