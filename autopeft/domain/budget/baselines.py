"""What a baseline is tried with: its own branch, and the limits that it can hold."""

from dataclasses import replace

import numpy as np

from autopeft.domain.ports import Problem

_DRAWS = 200  # random points before no point of a baseline is taken to hold a limit


def own_problem(problem: Problem, baseline: str) -> Problem:
    """The problem of a baseline alone, without the known limits where no point of it holds them.

    It is trained then all the same: the front is compared with it, and limits may follow what it
    reaches. `accuracy >= baselines.house.accuracy - 0.01` beside `adapter_params <= 20000` asks for
    what a larger LoRA is nearly as good as.
    """
    own = replace(problem, space=problem.space.only(baseline))
    rng = np.random.default_rng(0)
    (branch,) = own.space.branches
    for _ in range(_DRAWS if branch.parameters else 1):
        if own.admissible(own.space.draw(rng)) is not None:
            return own
    return replace(own, constraints=tuple(c for c in own.constraints if not c.known))
