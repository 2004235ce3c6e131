"""The landscapes by name."""

from functools import lru_cache

import recorded
import suite
import synthetic
from hidden import VARIANTS
from landscapes import Landscape

from autopeft.domain.errors import AutopeftError

SUITE = "suite"
NAMES = (*VARIANTS, SUITE, *recorded.NAMES)


@lru_cache(maxsize=4)
def make(name: str, seed: int) -> Landscape:
    """The landscape of a name; seed: which instance, where the family has several.

    Raises:
        AutopeftError: no such name, or its data is missing.
    """
    if name in VARIANTS:
        return synthetic.landscape(name, seed)
    if name == SUITE:
        return suite.landscape()
    if name in recorded.NAMES:
        return recorded.landscape(name)
    raise AutopeftError(f"--problems takes {', '.join(NAMES)}, got {name!r}: correct it")
