"""Names that are not there, and the nearest ones that are."""

import difflib
from collections.abc import Iterable

from autopeft.config.tree import Complain

_LONGEST = 100  # characters of a name that is compared: it takes their square


def join(path: str, key: str) -> str:
    """The path of a key; the whole file has the path ""."""
    return f"{path}.{key}" if path else key


def nearest(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """The suggestion for a name that is not known."""
    near = difflib.get_close_matches(str(name)[:_LONGEST], list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else otherwise


def check_names(
    path: str, got: Iterable[str], known: Iterable[str], what: str, complain: Complain
) -> None:
    """Complain of every key that is not known."""
    known = list(known)
    for key in got:
        if key not in known:
            hint = nearest(key, known, f"{what} takes {', '.join(known)}")
            complain(join(path, key), f"{what} has no {key!r}", hint)
