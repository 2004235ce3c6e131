"""A YAML 1.2 file as plain data and the line of every path.

YAML 1.2 reads `1e-5` as a number and `no` as a string. Anchors are expanded: each place of an alias
is a value of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from autopeft.domain.errors import Mistake, SpecError

Lines = Mapping[str, int]
_MOST_NODES = 20_000  # of a file with its aliases expanded


def read(path: Path) -> tuple[dict[str, Any], Lines]:
    """The document and its lines.

    Raises:
        SpecError: no such file, not text, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(path, "a space file is text in UTF-8, got other bytes") from error
    try:
        loaded = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _refusal(
            path, f"not YAML: {said}", None if mark is None else mark.line + 1
        ) from error
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"not YAML: {error}") from error
    if not isinstance(loaded, CommentedMap):
        what = "an empty file" if loaded is None else f"a {type(loaded).__name__}"
        raise _refusal(path, f"a space file is a mapping (`key: value`), got {what}")
    lines: dict[str, int] = {}
    return _plain(loaded, "", lines, [0], str(path)), lines


def override(document: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The document with `key.path=value` settings, values read as YAML.

    Raises:
        SpecError: a setting without `=`, or through something that is no mapping.
    """
    mistakes = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            mistakes.append(Mistake("--set", f"takes key.path=value, got {setting!r}"))
            continue
        *parents, last = path.strip().split(".")
        place: Any = document
        for key in parents:
            place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            mistakes.append(Mistake("--set", f"{path} goes through something that is no mapping"))
            continue
        try:
            place[last] = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            mistakes.append(Mistake("--set", f"the value of {path} is not YAML: {text!r}"))
    if mistakes:
        raise SpecError(mistakes, "command line")
    return document


def line_of(lines: Lines, path: str) -> int | None:
    """The line of a path, or of the nearest place above it."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return None


def _plain(node: Any, path: str, lines: dict[str, int], count: list[int], source: str) -> Any:
    count[0] += 1
    if count[0] > _MOST_NODES:
        raise _refusal(Path(source), f"more than {_MOST_NODES} values with aliases expanded")
    if isinstance(node, CommentedMap):
        found: dict[str, Any] = {}
        for key, value in node.items():
            inner = f"{path}.{key}" if path else str(key)
            # A merged key (`<<`) has no place of its own in this mapping.
            if key in node.lc.data:
                lines.setdefault(inner, node.lc.key(key)[0] + 1)
            found[str(key)] = _plain(value, inner, lines, count, source)
        return found
    if isinstance(node, CommentedSeq):
        items = []
        for i, value in enumerate(node):
            lines.setdefault(f"{path}[{i}]", node.lc.item(i)[0] + 1)
            items.append(_plain(value, f"{path}[{i}]", lines, count, source))
        return items
    return _scalar(node)


def _scalar(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)  # dates and the like: what the file says


def _refusal(path: Path, message: str, line: int | None = None) -> SpecError:
    return SpecError([Mistake("file", message, line=line)], str(path))
