"""Recorded tables as landscapes: the space that was recorded, answered by what training gave.

What is not in the table (a record that is still growing, a run that failed) is refused as if the
model could not take it. A configuration of two seeds shows one of them and its mean is true; of one
seed, what it shows is true. Reference: the worst of the table in both objectives.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import grid
from landscapes import Landscape, Row, over_problem
from rows import Table, read

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Problem
from autopeft.domain.space import Point, Space

_FOLDER = Path(__file__).parent
NAMES = tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def landscape(name: str) -> Landscape:
    """The landscape of tables/<name>.parquet.

    Raises:
        AutopeftError: there is no such table yet.
    """
    file = _FOLDER / "tables" / f"{name}.parquet"
    if not file.is_file():
        raise AutopeftError(f"there is no table {file}: leave problem {name} out, or record it")
    problem = grid.recorded(_FOLDER / f"{name}.yaml")
    return over_table(name, read(file), problem)


def over_table(name: str, table: Table, problem: Problem) -> Landscape:
    """A table as answers to its problem; only what was measured is admitted."""
    seconds: dict[tuple[str, int], float] = defaultdict(float)
    for row in table.rows:
        seconds[row.key, row.seed] += row.seconds
    metrics = [o.metric for o in problem.objectives if not o.known]
    found: dict[str, Row] = {}
    for last in table.last:
        before = found[last.key].runs if last.key in found else ()
        found[last.key] = Row(
            configuration=Configuration.from_document(last.configuration),
            known=last.known,
            runs=[*before, {metric: last.metrics[metric] for metric in metrics}],
            stderr={metric: last.stderr[metric] for metric in metrics if metric in last.stderr},
            seconds=seconds[last.key, last.seed],
        )

    def configure(point: Point) -> Configuration:
        configuration = problem.configure(point)
        if configuration.key not in found:
            raise ValueError(f"configuration {configuration.key} is not in the table")
        return configuration

    offered = replace(problem, space=Space(problem.space.searched), configure=configure)
    values = [{**row.known, **row.mean} for row in found.values()]
    reference = {o.metric: min(values, key=o.score)[o.metric] for o in problem.objectives}
    return over_problem(name, offered, list(found.values()), reference)
