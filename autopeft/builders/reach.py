"""What the known limits leave of a space: what breaks one is never tried."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from autopeft.builders.problems import problem
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError
from autopeft.domain.model import ModelShape
from autopeft.domain.objective import Constraint
from autopeft.domain.ports import Problem
from autopeft.domain.space import Branch
from autopeft.domain.study import StudySpec
from autopeft.orchestrator.proposal import DRAWS


class _Broken(NamedTuple):
    """A known limit that a branch breaks; nearest: of so many drawn how near one comes to it."""

    limit: Constraint
    nearest: float
    drawn: int

    def __str__(self) -> str:
        if self.limit.text.startswith("servable"):
            return self.limit.text
        return f"{self.limit.text} (the nearest of {self.drawn:,} drawn has {self.nearest:,.10g})"


def check_reach(spec: StudySpec, shape: ModelShape, source: Path) -> list[str]:
    """A remark for every branch to search that is never tried; spec: bound to the shape.

    source: the file that it came from, for the places of mistakes.

    Raises:
        SpecError: no branch is ever tried.
    """
    offered = problem(spec, shape)
    broken = {branch.name: _broken(offered, branch) for branch in spec.space.searched}
    never = {
        name: f"no architecture of branch {name} holds {' and '.join(map(str, limits))}"
        for name, limits in broken.items()
        if limits
    }
    if len(never) < len(broken):
        return [f"{told}: it is never tried" for told in never.values()]
    places = read(source)[1]
    raise SpecError(
        [
            places.mistake(
                f"constraints[{spec.constraints.index(broken[name][0].limit)}]",
                f"something has to be left to search, {told}",
                "loosen it, or add what holds it",
                checked=spec.document,
            )
            for name, told in never.items()
        ],
        str(source),
    )


def _broken(offered: Problem, branch: Branch) -> list[_Broken]:
    """The known limits that no point of a branch holds, or not together; none where one does."""
    known = [constraint for constraint in offered.constraints if constraint.known]
    if not known:
        return []
    rng, space = np.random.default_rng(0), offered.space.only(branch.name)
    found: list[Mapping[str, float]] = []
    for _ in range(DRAWS if branch.parameters else 1):
        point = space.draw(rng)
        if offered.admissible(point) is not None:
            return []
        with suppress(ValueError):  # the model refuses it, which is no limit's fault
            found.append(offered.known(offered.configure(point).architecture))
    if not found:
        return []
    never = [limit for limit in known if not any(map(limit.holds, found))]
    return [_Broken(limit, _nearest(limit, found), len(found)) for limit in never or known]


def _nearest(limit: Constraint, found: Sequence[Mapping[str, float]]) -> float:
    values = [metrics[limit.metric] for metrics in found]
    return min(values) if limit.operator == "<=" else max(values)
