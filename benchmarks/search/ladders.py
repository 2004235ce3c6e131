"""Landscapes whose trials can pause: what was measured at the rungs of real trainings.

    ladder = ladders.make("sst2")
    metrics, stderr = ladder.told(configuration, seed=0, rung=0)

A rung is that of the same run as the end, so a trial that goes on is told what that run gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import grid
import numpy as np
import recorded
import rows
import suite
from landscapes import Landscape, Metrics
from table import TABLES

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError

NAMES = (*recorded.NAMES, "suite")
_VALIDATION_ROWS = 50  # of the suite's curves
_POINT = 250  # steps between two points of them
_STOPS = (250, 1000, 5000)  # 5 %, 20 % and all of the suite's steps
Told = tuple[Metrics, Metrics]


@dataclass(frozen=True)
class Ladder:
    """A landscape with rungs.

    stops: steps that a trial has done at every rung, the end last.
    runs: configuration key -> its runs; a run has metrics and standard errors at every rung.
    """

    landscape: Landscape
    stops: tuple[int, ...]
    runs: Mapping[str, Sequence[Sequence[Told]]]

    def told(self, configuration: Configuration, seed: int, rung: int) -> Told:
        """What a trial shows; the seed says which of the runs it is."""
        runs = self.runs[configuration.key]
        rng = np.random.default_rng([seed, int(configuration.key, 16)])
        return runs[int(rng.integers(len(runs)))][rung]


@lru_cache(maxsize=4)
def make(name: str, tables: Path = TABLES) -> Ladder:
    """The ladder of a recorded table or of the suite.

    Raises:
        AutopeftError: no such name, or its data is missing.
    """
    if name == "suite":
        return _of_suite()
    if name not in recorded.NAMES:
        raise AutopeftError(f"--problems takes {', '.join(NAMES)}, got {name!r}: correct it")
    file = tables / f"{name}.parquet"
    if not file.is_file():
        raise AutopeftError(f"there is no table {file}: leave problem {name} out, or record it")
    problem = grid.recorded(Path(__file__).with_name(f"{name}.yaml"))
    table = rows.read(file)
    return of_table(recorded.over_table(name, table, problem), table)


def of_table(landscape: Landscape, table: rows.Table) -> Ladder:
    """The runs of a table that came to their end."""
    whole = {(last.key, last.seed): last.step for last in table.last}
    by_run: dict[tuple[str, int], list[Told]] = {}
    for row in table.rows:
        if (row.key, row.seed) in whole:
            by_run.setdefault((row.key, row.seed), []).append((row.metrics, row.stderr))
    runs: dict[str, list[list[Told]]] = {}
    for (key, _), run in by_run.items():
        runs.setdefault(key, []).append(run)
    planned = sorted({row.stop for row in table.rows if row.stop is not None})
    return Ladder(landscape, (*planned, max(step or 0 for step in whole.values())), runs)


def _of_suite() -> Ladder:
    """Validation accuracy on 50 rows at 5 % and 20 % of the steps, test accuracy at the end."""
    landscape = suite.landscape()
    runs = {
        suite.configuration(members[0]).key: [_rungs(run) for run in members]
        for members in suite.batch().values()
    }
    return Ladder(landscape, _STOPS, runs)


def _rungs(run: suite.Run) -> list[Told]:
    curve = [run["validation_curve"][stop // _POINT - 1] for stop in _STOPS[:-1]]
    return [
        *(_share(accuracy, _VALIDATION_ROWS) for accuracy in curve),
        _share(run["test_accuracy"], suite.TEST_ROWS),
    ]


def _share(accuracy: float, count: int) -> Told:
    # One success and one failure more (Laplace): none of 50 is no certainty.
    p = (accuracy * count + 1) / (count + 2)
    return {"accuracy": accuracy}, {"accuracy": float((p * (1 - p) / count) ** 0.5)}
