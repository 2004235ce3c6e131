"""The search against each other sampler by itself, on all the seeds that those two have.

Unlike the tables of `summary`, which keep the seeds that every sampler has, and leave out a search
that was ended before its budget.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import paired
from numpy.typing import NDArray
from summary import SUBJECT, Row, stacked

from autopeft.domain.errors import AutopeftError

_SHOWN = (8, 12, 20, 60, 120, 200)  # trials after which a sampler's mean is told
_LED = (20, 60, 200)  # after which the lead is
_NEAR = 0.99  # of a level: the rest of it is often one configuration that noise made best
Array = NDArray[np.float64]


class _Pair(NamedTuple):
    """(seeds, trials) hypervolume of the search and of another sampler, and the latter's rows."""

    own: Array
    other: Array
    rows: Sequence[Row]
    ended: bool


def report(rows: Sequence[Row], of: str = "curve") -> str:
    """Markdown: one table, a row for every problem and other sampler.

    rows: of searches with one worker; of several budgets of one search the longest counts.
    of: which curve of a result, see `summary.report`.

    Raises:
        AutopeftError: there is nothing to compare, or a result lacks the curve.
    """
    found: dict[str, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in sorted(rows, key=lambda row: int(row["trials"])):
        if row["workers"] == 1:
            found[row["problem"]][row["sampler"]][row["seed"]] = row
    table = [line for problem, group in found.items() for line in _lines(problem, group, of)]
    if not table:
        raise AutopeftError(
            f"report --against needs searches of {SUBJECT} and of others with the same problem, "
            "seed and 1 worker, got none: name their results too"
        )
    heads = [f"{n} trials" if n == _SHOWN[0] else str(n) for n in _SHOWN]
    leads = ", ".join(map(str, _LED))
    columns = [
        "problem",
        "sampler (seeds)",
        *heads,
        "s a suggestion (at the end)",
        f"{SUBJECT} ahead by, at {leads}",
        "at its last level after",
        f"at {_NEAR} of it after",
    ]
    return "\n".join([_line(columns), "|---" * len(columns) + "|", *table])


def _lines(problem: str, group: Mapping[str, Mapping[int, Row]], of: str) -> Iterator[str]:
    """Best last mean first; what was ended before its budget at the end."""
    pairs = {
        name: _pair(group.get(SUBJECT, {}), rows, of)
        for name, rows in group.items()
        if name != SUBJECT and group.get(SUBJECT, {}).keys() & rows.keys()
    }
    order = sorted(pairs, key=lambda name: (pairs[name].ended, -pairs[name].other[:, -1].mean()))
    for name in order:
        yield _line([problem if name == order[0] else "", *_cells(name, pairs[name])])


def _pair(own: Mapping[int, Row], other: Mapping[int, Row], of: str) -> _Pair:
    """As many trials as all of the searches have."""
    seeds = sorted(own.keys() & other.keys())
    both = [[by_seed[seed] for seed in seeds] for by_seed in (own, other)]
    if any(of not in row for rows in both for row in rows):
        raise AutopeftError(f"some results lack {of}: run them again, --out elsewhere")
    trials = min(int(row["trials"]) for rows in both for row in rows)
    ours, theirs = (stacked([row[of] for row in rows], trials) for rows in both)
    return _Pair(ours, theirs, both[1], ended=trials < min(int(row["trials"]) for row in both[0]))


def _cells(name: str, pair: _Pair) -> Iterator[str]:
    trials = pair.own.shape[1]
    yield f"{name} ({len(pair.own)})"
    for n in _SHOWN:
        yield f"{pair.other[:, n - 1].mean():.3f}" if n <= trials else ""
    mean, end = (np.mean([row[key] for row in pair.rows]) for key in ("cpu_s", "cpu_s_end"))
    yield f"{_seconds(mean)} ({_seconds(end)})"
    there = [n for n in _LED if n <= trials]
    yield ", ".join(paired.told(pair.own[:, n - 1] - pair.other[:, n - 1]) for n in there)
    level = float(pair.other[:, -1].mean())
    for share in (1.0, _NEAR):
        yield "" if pair.ended else paired.reached(pair.own, share * level)


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
