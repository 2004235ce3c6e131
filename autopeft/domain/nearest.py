"""The nearest name that is there, for one that is not."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 100  # characters of a name that is compared: it takes their square
_ALIKE = 0.5  # of 1; the least share that two names must have in common


def nearest(name: object, known: Iterable[str], otherwise: str = "", of: str = "") -> str:
    """The suggestion for a name that is not known.

    of: what stands before both, as in `baselines.`.
    """
    near = get_close_matches(str(name)[:_LONGEST], list(known), n=1, cutoff=_ALIKE)
    return f"did you mean {of}{near[0]}?" if near else otherwise
