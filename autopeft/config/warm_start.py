"""The check of `search.warm_start`: names of earlier studies."""

from collections.abc import Sequence
from typing import Any

from autopeft.config.tree import Complain, told
from autopeft.domain.objective import Objective

_PATH = "search.warm_start"


def check_warm_start(
    given: Any, sampler: str, objectives: Sequence[Objective], complain: Complain
) -> tuple[str, ...]:
    """The names; () where none is given, or where the search could not use them."""
    if given is None:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        complain(_PATH, f"takes names of earlier studies, got {told(given)}", "[rte-small, rte]")
        return ()
    if len(set(names)) < len(names):
        complain(_PATH, f"takes each study once, got {told(given)}", "remove the second")
    known = [objective.known for objective in objectives]
    if sampler != "autopeft":
        complain(_PATH, f"only sampler autopeft starts from earlier studies, got {sampler}")
    elif objectives and (known.count(False) != 1 or len(known) > 2):
        complain(
            _PATH,
            "needs one objective that is measured and at most one that is known, got "
            + ", ".join(objective.metric for objective in objectives),
        )
    return tuple(names)
