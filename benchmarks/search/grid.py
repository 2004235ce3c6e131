"""Every configuration of a space whose variables are all choices, in one fixed shuffled order.

A table that stopped early is therefore a random sample of its grid.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autopeft import build
from autopeft.config import bind, load
from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.model import ModelShape
from autopeft.domain.ports import Problem
from autopeft.domain.space import Branch, Choice, Json, Parameter, Space
from autopeft.domain.study import StudySpec

_ORDER, _SUBSET = 0, 1  # what the seed of the file is drawn with, beside itself


@dataclass(frozen=True)
class Cell:
    """One configuration of the grid, and the point that it comes from."""

    point: Mapping[str, Json]
    configuration: Configuration
    known: Mapping[str, float]


@dataclass(frozen=True)
class Job:
    """One run: a configuration, trained in full at a seed."""

    cell: Cell
    seed: int

    @property
    def identity(self) -> tuple[str, int]:
        return self.cell.configuration.key, self.seed


def opened(file: Path) -> tuple[StudySpec, Problem]:
    """The study of a space file without its baselines, checked against its model.

    A grid has no baselines, so a search of it has none either.

    Raises:
        AutopeftError: the file is missing or wrong.
    """
    return _of(*build.bound(load(file), file))


def recorded(file: Path) -> Problem:
    """The problem of a space file whose results are in a table: its data need not be there.

    Raises:
        AutopeftError: the file is missing or wrong.
    """
    spec = load(file)
    # Labels change the size of the head alone, which is no adapter's.
    shape = build.shape_of(spec.model, folder=spec.folder)
    return _of(bind(spec, shape, source=file), shape)[1]


def _of(spec: StudySpec, shape: ModelShape) -> tuple[StudySpec, Problem]:
    spec = replace(spec, space=Space(spec.space.searched))
    return spec, build.problem(spec, shape)


def cells(spec: StudySpec, problem: Problem) -> list[Cell]:
    """The whole grid of the branches to search, shuffled by the file's seed.

    Two points of one configuration are one cell; what the model refuses is left out.

    Raises:
        AutopeftError: a variable is no choice.
    """
    found: dict[str, Cell] = {}
    for branch in problem.space.searched:
        for point in points(branch):
            configuration = problem.admissible(point)
            if configuration is not None and configuration.key not in found:
                known = problem.known(configuration.architecture)
                found[configuration.key] = Cell(point, configuration, known)
    grid = list(found.values())
    return [grid[i] for i in _shuffled(len(grid), spec.search.seed, _ORDER)]


def jobs(spec: StudySpec, problem: Problem, *, seeds_on: int) -> list[Job]:
    """The grid at the file's seed, then a random subset of `seeds_on` cells at the next seed."""
    grid, first = cells(spec, problem), spec.search.seed
    again = _shuffled(len(grid), first, _SUBSET)[:seeds_on]
    return [*(Job(cell, first) for cell in grid), *(Job(grid[i], first + 1) for i in again)]


def points(branch: Branch) -> Iterator[dict[str, Json]]:
    """Every point of a branch; a choice inside an option varies only where that is taken.

    Raises:
        AutopeftError: a variable is no choice.
    """
    for parameter in branch.parameters:
        if not isinstance(parameter.variable, Choice):
            kind = type(parameter.variable).__name__.lower()
            raise AutopeftError(
                f"a grid takes choices only, got a {kind} at space.{branch.name}.{parameter.name}: "
                "write {choice: [...]} there"
            )
    yield from _taken({"branch": branch.name}, branch.parameters)


def _taken(point: dict[str, Json], parameters: tuple[Parameter, ...]) -> Iterator[dict[str, Json]]:
    if not parameters:
        yield point
        return
    first, *others = parameters
    if not first.active(point):
        yield from _taken(point, tuple(others))
        return
    assert isinstance(first.variable, Choice)
    for position in range(len(first.variable.options)):
        yield from _taken({**point, first.name: position}, tuple(others))


def _shuffled(count: int, seed: int, purpose: int) -> list[int]:
    order: list[int] = np.random.default_rng([seed, purpose]).permutation(count).tolist()
    return order
