"""The landscapes by name, and which of their instances are for what.

The engine was made and tuned on `TUNED` and on some more below 120: its authors looked at these
instances of the made-up landscapes, at the table of SST-2 and at the suite. `HELD_OUT` are other instances, which nobody
runs before the engine is finished, and then once. A table is the same at every seed: only the order
of what is drawn differs. So what is new in a final run is the made-up instances and `NEW_TABLES`.
"""

from functools import lru_cache

import recorded
import suite
import synthetic
from hidden import VARIANTS
from landscapes import Landscape

from autopeft.domain.errors import AutopeftError

SUITE = "suite"
NAMES = (*VARIANTS, SUITE, *recorded.NAMES)
TUNED = range(10)  # seeds
HELD_OUT = range(200, 210)
NEW_TABLES = ("ag_news", "clinc30")  # recorded after the engine was tuned
_USUAL = 5  # seeds


def seeds(count: int | None, *, final: bool) -> range:
    """The seeds of a run: so many, of those that are kept or of the others.

    Raises:
        AutopeftError: there are not as many.
    """
    offered = HELD_OUT if final else range(HELD_OUT.start)
    count = count or (len(HELD_OUT) if final else _USUAL)
    if count > len(offered):
        kept = "that are kept for the end" if final else "before those that are kept for the end"
        raise AutopeftError(f"--seeds takes at most {len(offered)} {kept}, got {count}: lower it")
    return offered[:count]


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
