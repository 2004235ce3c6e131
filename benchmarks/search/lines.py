"""The record of a study: one JSON line a run, and beside it what the runs were made with.

A line is whole or not there: a torn last one, left by a kill while it was written, is dropped.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from autopeft.domain.errors import AutopeftError
from autopeft.domain.fingerprints import other_rows

_TOLD_ONLY = ("commit", "processor")  # of an origin: those of its first rows


def read(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a record; [] where there is none.

    Raises:
        AutopeftError: a line in the middle is not JSON.
    """
    if not file.exists():
        return []
    found = []
    for number, line in enumerate(file.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise AutopeftError(f"{file}, line {number} is not JSON: repair or drop it") from error
    return found


@contextmanager
def appending(file: Path) -> Iterator[TextIO]:
    """The record opened for more lines, by one process at a time, without a torn last line.

    Raises:
        AutopeftError: another process writes to it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AutopeftError(
                f"{file} is being written by another process: let it end"
            ) from error
        whole = file.read_bytes()
        stream.truncate(whole.rfind(b"\n") + 1)
        with open(stream.fileno(), "a", closefd=False) as text:
            yield text


def append(stream: TextIO, row: Mapping[str, Any]) -> None:
    """Write one line, at once."""
    stream.write(json.dumps(row) + "\n")
    stream.flush()


def same_origin(file: Path, origin: Mapping[str, Any]) -> None:
    """Write what the runs are made with beside the record, or check that it still holds.

    Raises:
        AutopeftError: the record was made with something else; its rows would not compare.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(origin, indent=2) + "\n")
        return
    before = json.loads(file.read_text())
    changed = sorted(
        name
        for name in before.keys() | origin.keys()
        if name not in _TOLD_ONLY and _another(name, before.get(name), origin.get(name))
    )
    if changed:
        raise AutopeftError(
            f"{file} names another {', '.join(changed)} than now: its rows would not compare; "
            "go on with what it names, or move the record away"
        )


def _another(name: str, before: Any, now: Any) -> bool:
    return other_rows(before, now) if name == "data_fingerprint" else before != now
