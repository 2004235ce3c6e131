"""What changed between two space files, and whether earlier trials stay valid."""

from collections.abc import Iterator, Mapping
from typing import Any

_FREE = ("budget", "resources", "confirm")  # how much and where, not what
_FREE_SEARCH = ("parallel", "seeds", "stop")
_ROUNDING = 1e-6  # of a count of steps such as .1


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """A line for every path that differs; empty when nothing does."""
    return "\n".join(f"  {path}: {before} -> {after}" for path, before, after in _changes(old, new))


def widens(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new file only adds: trials of the old one are points of the new space.

    Options are added at the end of a choice, because points hold the position of an option.
    """
    usual: dict[str, Any] = {"search": {}, "resources": {}}
    old, new = {**usual, **old}, {**usual, **new}
    return all(_keeps(path, before, after) for path, before, after in _raw(old, new, ""))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path, before, after in _raw(old, new, ""):
        yield path, _text(before), _text(after)


_MISSING = object()


def _text(value: Any) -> str:
    return "nothing" if value is _MISSING else repr(value)


def _raw(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping) and not _is_variable(old):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from _raw(old.get(key, _MISSING), new.get(key, _MISSING), inner)
    elif (
        isinstance(old, list)
        and isinstance(new, list)
        and len(old) == len(new)
        and any(isinstance(item, Mapping) for item in old)
    ):
        for i, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _raw(before, after, f"{path}[{i}]")
    elif not _same(old, new):
        yield path, old, new


def _same(old: Any, new: Any) -> bool:
    """Whether both are written alike: to Python 1, 1.0 and true are equal, not to a space."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    return type(old) is type(new) and bool(old == new)


def _is_variable(node: Mapping[str, Any]) -> bool:
    return bool(set(node) & {"choice", "subset", "low", "high", "expr"})


def _keeps(path: str, before: Any, after: Any) -> bool:
    top, _, rest = path.partition(".")
    if path == "resources.price_per_hour":  # what earlier trials cost was told in the old one
        return before is _MISSING
    if top in _FREE or (top == "search" and rest.partition(".")[0] in _FREE_SEARCH):
        return True
    # A new branch; the branches that were there keep their names.
    if top == "space" and before is _MISSING and "." not in rest:
        return True
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if "choice" in before and "choice" in after:
            known = before["choice"]
            return _same(after["choice"][: len(known)], known)
        if "low" in before and "low" in after:
            same = {k: v for k, v in before.items() if k not in ("low", "high")} == {
                k: v for k, v in after.items() if k not in ("low", "high")
            }
            wider = after["low"] <= before["low"] and after["high"] >= before["high"]
            return bool(same and wider and _comes_by(before["low"], after))
    return False


def _comes_by(value: float, given: Mapping[str, Any]) -> bool:
    """Whether a range of steps has this value among its own; one without steps has all."""
    if not given.get("step"):
        return True
    steps = (value - given["low"]) / given["step"]
    return bool(abs(steps - round(steps)) < _ROUNDING)
