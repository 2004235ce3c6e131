"""Metrics as they are shown: units, and which of them are drawn."""

from collections.abc import Sequence

from autopeft.domain.objective import Objective


def axes(objectives: Sequence[Objective]) -> tuple[Objective | None, Objective]:
    """The objectives drawn to the right (None: the trial's number) and upwards.

    The first measured one upwards, the first known one (the cost) to the right.
    """
    y = next((o for o in objectives if not o.known), objectives[0])
    others = [o for o in objectives if o is not y]
    return next((o for o in others if o.known), others[0] if others else None), y
