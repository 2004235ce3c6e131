"""A YAML 1.2 file as plain data and the line of every path.

YAML 1.2 reads `1e-5` as a number and `no` as a string. Anchors are expanded: each place of an alias
is a value of its own.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, CommentedSet, TaggedScalar
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from autopeft.domain.errors import Mistake, SpecError

Lines = Mapping[str, int]
_MOST_NODES = 20_000  # of a file with its aliases expanded
_PLAIN_TAGS = (None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_LOST = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What ruamel raises, beside its own errors, at text that is far from YAML (a mapping as a key)."""

_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")


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
    except _LOST as error:
        raise _refusal(path, f"not YAML: {error}") from error
    if not isinstance(loaded, CommentedMap):
        what = "an empty file" if loaded is None else f"a {_kind(loaded)}"
        raise _refusal(path, f"a space file is a mapping (`key: value`), got {what}")
    expansion = _Expansion()
    try:
        document = expansion.plain(loaded, "")
    except RecursionError as error:
        raise _refusal(path, "an alias holds itself: write the values out") from error
    except OverflowError as error:
        rule = f"more than {_MOST_NODES} values with aliases expanded: use fewer aliases"
        raise _refusal(path, rule) from error
    if expansion.mistakes:
        raise SpecError(expansion.mistakes, str(path))
    assert isinstance(document, dict)
    return document, expansion.lines


def override(document: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The document with `key.path=value` settings, values read as YAML.

    A path is written as in the mistakes: `space.lora.modules[0].r`.

    Raises:
        SpecError: a setting without `=`, or through something that is not there.
    """
    mistakes = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        steps = _STEP.findall(path.strip())
        if not equals or not steps:
            mistakes.append(Mistake("--set", f"takes key.path=value, got {setting!r}"))
            continue
        try:
            value = _literal(text)
        except (YAMLError, *_LOST):
            mistakes.append(Mistake("--set", f"the value of {path} is not YAML: {text!r}"))
            continue
        if not _put(document, steps, value):
            mistakes.append(
                Mistake("--set", f"{path} goes through something that is no mapping or list")
            )
    if mistakes:
        raise SpecError(mistakes, "command line")
    return document


def _literal(text: str) -> Any:
    expansion = _Expansion()
    value = expansion.plain(YAML(typ="rt").load(text), "")
    if expansion.mistakes:
        raise ValueError(text)
    return value


def _put(document: Any, steps: Sequence[str], value: Any) -> bool:
    """Set one value in place, making mappings on the way; False where there is no such place."""
    place = document
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        if step.startswith("["):
            position = int(step[1:-1])
            if not isinstance(place, list) or position >= len(place):
                return False
            if last:
                place[position] = value
            place = place[position]
        elif not isinstance(place, dict):
            return False
        elif last:
            place[step] = value
        else:
            if place.get(step) is None:
                place[step] = {}
            place = place[step]
    return True


def line_of(lines: Lines, path: str) -> int | None:
    """The line of a path, or of the nearest place above it."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return None


class _Expansion:
    """One walk over a loaded file: plain values, their lines, and what cannot be taken."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.mistakes: list[Mistake] = []
        self._count = 0

    def plain(self, node: Any, path: str) -> Any:
        self._count += 1
        if self._count > _MOST_NODES:
            raise OverflowError
        if isinstance(node, CommentedMap):
            return self._mapping(node, path)
        if isinstance(node, CommentedSeq) and not _tagged(node):
            items = []
            for i, value in enumerate(node):
                self.lines.setdefault(f"{path}[{i}]", node.lc.item(i)[0] + 1)
                items.append(self.plain(value, f"{path}[{i}]"))
            return items
        return self._scalar(node, path)

    def _mapping(self, node: CommentedMap, path: str) -> dict[str, Any] | None:
        if _tagged(node):
            self._refuse(path, "tags (`!name`) are not read")
            return None
        found: dict[str, Any] = {}
        for key, value in node.items():
            inner = f"{path}.{key}" if path else str(key)
            # A merged key (`<<`) has no place of its own in this mapping.
            if key in node.lc.data:
                self.lines.setdefault(inner, node.lc.key(key)[0] + 1)
            found[str(key)] = self.plain(value, inner)
        return found

    def _scalar(self, value: Any, path: str) -> Any:
        if isinstance(value, TaggedScalar | CommentedSet | CommentedSeq | bytes):
            self._refuse(path, "tags (`!name`) are not read")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(path, f"a number is finite, got {value}")
            return None
        if isinstance(value, bool | ScalarBoolean):
            return bool(value)
        for kind in (int, float, str):
            if isinstance(value, kind):
                return kind(value)
        return None if value is None else str(value)  # dates and the like: what the file says

    def _refuse(self, path: str, message: str) -> None:
        self.mistakes.append(
            Mistake(path, message, "write a plain value", line_of(self.lines, path))
        )


def _tagged(node: CommentedMap | CommentedSeq) -> bool:
    tag = getattr(node, "tag", None)
    return tag is not None and tag.value not in _PLAIN_TAGS


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "text" if isinstance(value, str) else "value"


def _refusal(path: Path, message: str, line: int | None = None) -> SpecError:
    return SpecError([Mistake("file", message, line=line)], str(path))
