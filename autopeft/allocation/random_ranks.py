"""Random ranks: the control arm of every allocation, with its budget and without its knowledge."""

from collections.abc import Sequence

import numpy as np

from autopeft.allocation.apportion import apportioned


def random_ranks(
    targets: Sequence[str], *, r: int, max_r: int, min_r: int = 0, seed: int
) -> dict[str, int]:
    """Ranks in proportion to a uniform draw from the simplex, r on average.

    Changes the deployed architecture, before training; costs nothing.

    Args:
        targets: full names of the modules.
        r: average rank: the budget is r times the number of modules.
        min_r, max_r: bounds of every rank; 0 leaves the module out.

    Returns:
        Module -> rank; the ranks sum exactly to the budget.

    Raises:
        ValueError: the budget does not fit the bounds.
    """
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(targets)))
    return apportioned(
        dict(zip(targets, weights.tolist(), strict=True)),
        r * len(targets),
        lowest=min_r,
        highest=max_r,
    )
