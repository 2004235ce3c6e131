"""A YAML 1.2 file as plain data and the place of every path.

YAML 1.2 reads `1e-5` as a number and `no` as a string. Anchors are expanded: each place of an alias
is a value of its own.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, CommentedSet, TaggedScalar
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from autopeft.config.places import LOST, Place, Places, located
from autopeft.config.tree import STEP
from autopeft.domain.errors import AutopeftError, Mistake, Span, SpecError

_MOST_NODES = 20_000  # of a file with its aliases expanded
_MOST_BYTES = 2**18
_DEEPEST = 100  # brackets; reading takes the square of their depth
_LARGEST = 2**63  # beyond it no float, database or trainer takes a whole number
_PLAIN_TAGS = (None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def read(path: Path) -> tuple[dict[str, Any], Places]:
    """The document, and where everything in it stands.

    Raises:
        SpecError: no such file, not text, not YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _refusal(path, f"a space file has at most {_MOST_BYTES:,} bytes, got more")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(path, "a space file is text in UTF-8, got other bytes") from error
    if _depth(text) > _DEEPEST:
        raise _refusal(path, f"not YAML: brackets nest at most {_DEEPEST} deep, got more")
    try:
        loaded = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        spot = None if mark is None else Places(text).spot(mark.line, mark.column)
        raise _refusal(path, f"not YAML: {said}", spot) from error
    except LOST as error:
        raise _refusal(path, f"not YAML: {error}") from error
    if not isinstance(loaded, CommentedMap):
        what = "an empty file" if loaded is None else f"a {_kind(loaded)}"
        raise _refusal(path, f"a space file is a mapping (`key: value`), got {what}")
    expansion = _Expansion(text)
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
    # A copy: `override` changes the document, and not what the file says.
    return document, Places(text, copy.deepcopy(document), expansion.at)


def override(document: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The document with `key.path=value` settings, values read as YAML.

    A path is written as in the mistakes: `space.lora.modules[0].r`.

    Raises:
        SpecError: a setting without `=`, or through something that is not there.
    """
    mistakes = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        steps = STEP.findall(path.strip())
        if not equals or not steps:
            mistakes.append(Mistake("--set", f"takes key.path=value, got {setting!r}"))
            continue
        try:
            value = _literal(text)
        except (YAMLError, *LOST):
            mistakes.append(Mistake("--set", f"the value of {path} is not YAML: {text!r}"))
            continue
        if not _put(document, steps, value):
            mistakes.append(
                Mistake("--set", f"{path} goes through something that is no mapping or list")
            )
    if mistakes:
        raise SpecError(mistakes, "command line")
    return document


def _depth(text: str) -> int:
    """How deep brackets nest at most, wherever they stand."""
    steps = (1 if character in "[{" else -1 for character in text if character in "[]{}")
    return max(accumulate(steps), default=0)


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


def relocated(
    error: AutopeftError, source: Path | None, checked: Mapping[str, Any]
) -> AutopeftError:
    """An error of the file's model or data at its place in the file, as far as it has one.

    source: None where the spec came from no file. checked: the document, with what `--set` said.
    """
    if source is None or isinstance(error, SpecError):
        return error
    return located(error, source, checked=checked, places=read(source)[1])


class _Expansion:
    """One walk over a loaded file: plain values, their places, and what cannot be taken."""

    def __init__(self, text: str = "") -> None:
        self.at: dict[str, Place] = {}
        self._text = text
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
                place = node.lc.item(i)
                self.at.setdefault(f"{path}[{i}]", Place(*place, *place))
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
                self.at.setdefault(inner, Place(*node.lc.key(key), *node.lc.value(key)))
            found[str(key)] = self.plain(value, inner)
        return found

    def _scalar(self, value: Any, path: str) -> Any:
        if isinstance(value, TaggedScalar | CommentedSet | CommentedSeq | bytes):
            self._refuse(path, "tags (`!name`) are not read")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(path, f"a number is finite, got {value}")
            return None
        if isinstance(value, int) and not -_LARGEST < value < _LARGEST:
            self._refuse(path, f"a whole number stays within {_LARGEST:.3g}, got a larger one")
            return None
        if isinstance(value, bool | ScalarBoolean):
            return bool(value)
        for kind in (int, float, str):
            if isinstance(value, kind):
                return kind(value)
        return None if value is None else str(value)  # dates and the like: what the file says

    def _refuse(self, path: str, message: str) -> None:
        places = Places(self._text, {}, self.at)
        self.mistakes.append(places.mistake(path, message, "write a plain value"))


def _tagged(node: CommentedMap | CommentedSeq) -> bool:
    tag = getattr(node, "tag", None)
    return tag is not None and tag.value not in _PLAIN_TAGS


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "text" if isinstance(value, str) else "value"


def _refusal(path: Path, message: str, spot: Span | None = None) -> SpecError:
    line = None if spot is None else spot.line
    return SpecError([Mistake("file", message, line=line, span=spot)], str(path))
