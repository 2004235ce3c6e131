"""Where the paths of a space file stand in its text, and the mistakes that point there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node, ScalarNode

from autopeft.config.tree import STEP
from autopeft.domain.errors import AutopeftError, Mistake, Span, SpecError

LOST = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What ruamel raises, beside its own errors, at text that is far from YAML (a mapping as a key)."""

_PATH = re.compile(r"(model|model_name_or_path|data(\.\w+)*)\b")


class Place(NamedTuple):
    """0-based lines and columns of a key and its value; of an item of a list both are the item's.

    Of an alias the value is where its anchor is: ruamel knows no other place.
    """

    line: int
    column: int
    value_line: int
    value_column: int


@dataclass(frozen=True)
class Places:
    """The places of one file.

    text: of the whole file. document: what it says, aliases expanded. at: path -> place.
    """

    text: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    at: Mapping[str, Place] = field(default_factory=dict)

    def mistake(
        self, path: str, message: str, suggestion: str = "", *, checked: Any = None
    ) -> Mistake:
        """The mistake at a path, or at the nearest place above it.

        checked: the document that it was found in. What does not stand in the file like that comes
            from `--set`, and is said to.
        """
        if checked is not None and self.at and _differs(path, checked, self.document):
            return Mistake(path, message, suggestion, given="--set")
        near = self._nearest(path)
        if near is None:
            return Mistake(path, message, suggestion)
        span = self._span(near, exact=near == path, message=message)
        return Mistake(path, message, suggestion, span.line, span)

    def spot(self, line: int, column: int) -> Span:
        """One character, by its 0-based place."""
        lines = self.text.splitlines()
        return Span(line + 1, column + 1, 1, lines[line] if line < len(lines) else "")

    def _nearest(self, path: str) -> str | None:
        while path:
            if path in self.at:
                return path
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return None

    def _span(self, path: str, *, exact: bool, message: str) -> Span:
        """The value where it stands on the line of its key and is what is wrong, else the key."""
        place = self.at[path]
        key = path[len(path[: path.rfind(".") + 1]) :]
        on_line = (place.line, place.column) <= (place.value_line, place.value_column)
        on_line = on_line and place.line == place.value_line
        named = exact and repr(key) in message and f"got {key!r}" not in message
        item = path.endswith("]")
        start = place.value_column if on_line and exact and not named else place.column
        text = self.text.splitlines()[place.line]
        end_line, end = self._ends.get((place.line, start), (place.line, start + 1))
        if end_line != place.line:  # of a block only the key, of a long value only its first line
            end = len(text.split(" #")[0].rstrip()) if item or start != place.column else start + 1
        return Span(place.line + 1, start + 1, max(1, end - start), text)

    @cached_property
    def _ends(self) -> dict[tuple[int, int], tuple[int, int]]:
        """0-based place where a node begins -> where it ends; of two the one that ends first."""
        try:
            root = YAML(typ="rt").compose(self.text)
        except (YAMLError, *LOST):
            return {}
        ends: dict[tuple[int, int], tuple[int, int]] = {}
        seen: set[int] = set()
        waiting: list[Any] = [root]
        while waiting:
            node = waiting.pop()
            if not isinstance(node, Node) or id(node) in seen:
                continue
            seen.add(id(node))
            start = (node.start_mark.line, node.start_mark.column)
            end = (node.end_mark.line, node.end_mark.column)
            ends[start] = min(end, ends.get(start, end))
            if not isinstance(node, ScalarNode):
                for item in node.value:
                    waiting += item if isinstance(item, tuple) else (item,)
        return ends


def located(
    error: AutopeftError, source: Path, *, checked: Mapping[str, Any], places: Places
) -> AutopeftError:
    """An error of a model or of data that begins with a path of the file, as a mistake there.

    Any other stays as it is.
    """
    found = _PATH.match(str(error))
    if found is None:
        return error
    path = "model.model_name_or_path" if found[0].startswith("model") else found[0]
    mistake = places.mistake(path, str(error), checked=checked)
    return SpecError([replace(mistake, path="")], str(source))


def _differs(path: str, checked: Any, written: Any) -> bool:
    """Whether a path, as far as it is there, has another value than in the file."""
    for step in STEP.findall(path):
        key: Any = int(step[1:-1]) if step.startswith("[") else step
        if isinstance(checked, dict):
            if key not in checked:
                break
            written = written.get(key) if isinstance(written, dict) else None
        elif isinstance(checked, list) and isinstance(key, int) and key < len(checked):
            written = written[key] if isinstance(written, list) and key < len(written) else None
        else:
            break
        checked = checked[key]
    return bool(checked != written)
