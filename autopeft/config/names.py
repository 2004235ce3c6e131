"""Keys of a space file: their paths, and those that are not known."""

from collections.abc import Iterable

from autopeft.config.tree import Complain
from autopeft.domain.nearest import nearest


def join(path: str, key: str) -> str:
    """The path of a key; the whole file has the path ""."""
    return f"{path}.{key}" if path else key


def check_names(
    path: str, got: Iterable[str], known: Iterable[str], what: str, complain: Complain
) -> None:
    """Complain of every key that is not known."""
    known = list(known)
    for key in got:
        if key not in known:
            hint = nearest(key, known, f"{what} takes {', '.join(known)}")
            complain(join(path, key), f"{what} has no {key!r}", hint)
