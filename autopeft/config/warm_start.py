"""The check of `search.warm_start`: names of earlier studies."""

from collections.abc import Sequence, Set
from typing import Any

from autopeft.config.tree import Complain, told
from autopeft.domain.objective import Objective, qualities

_PATH = "search.warm_start"


def check_warm_start(
    given: Any,
    sampler: str,
    objectives: Sequence[Objective],
    complain: Complain,
    estimated: Set[str],
) -> tuple[str, ...]:
    """The names; () where none is given, or where the search could not use them.

    estimated: the measured metrics that a formula estimates.
    """
    if given is None:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        complain(_PATH, f"takes names of earlier studies, got {told(given)}", "[rte-small, rte]")
        return ()
    if len(set(names)) < len(names):
        complain(_PATH, f"takes each study once, got {told(given)}", "remove the second")
    if sampler != "autopeft":
        complain(_PATH, f"only sampler autopeft starts from earlier studies, got {sampler}")
    elif objectives and len(qualities(objectives, estimated)) != 1:
        complain(
            _PATH,
            "needs one quality among the objectives, beside costs, got "
            + ", ".join(objective.metric for objective in objectives),
        )
    return tuple(names)
