"""The search against each other sampler by itself, on all the seeds that those two have.

Unlike the tables of `summary`, which keep the seeds that every sampler has, and leave out a search
that was ended before its budget. Two tables of what comes out, a row for every sampler and a column
for every problem, and one of all the figures.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    @property
    def leads(self) -> Iterator[Array]:
        """(seeds,) at each of the budgets at which the lead is told, as far as both have it."""
        for n in _LED:
            if n <= self.own.shape[1]:
                yield self.own[:, n - 1] - self.other[:, n - 1]

    @property
    def reached(self) -> Iterator[str]:
        """After how many trials the search is at the other's last level, and near it."""
        for share in (1.0, _NEAR):
            yield paired.reached(self.own, share * float(self.other[:, -1].mean()))


_Pairs = Mapping[str, Mapping[str, _Pair]]  # by problem, by sampler


def report(rows: Sequence[Row], of: str = "curve") -> str:
    """Markdown: how far the search is ahead, how soon it is at another's last level, and all of it.

    rows: of searches with one worker; of several budgets of one search the longest counts.
    of: which curve of a result, see `summary.report`.

    Raises:
        AutopeftError: there is nothing to compare, or a result lacks the curve.
    """
    pairs = _pairs(rows, of)
    leads = ", ".join(map(str, _LED))
    return "\n\n".join(
        [
            f"### How far {SUBJECT} is ahead, at {leads} trials (level ones in brackets)",
            _by_sampler(pairs, _lead),
            f"### Trials of {SUBJECT} to the other's last level, and to {_NEAR} of it",
            _by_sampler(pairs, _need),
            "### Every pair",
            _in_full(pairs),
        ]
    )


def _pairs(rows: Sequence[Row], of: str) -> _Pairs:
    found: dict[str, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in sorted(rows, key=lambda row: int(row["trials"])):
        if row["workers"] == 1:
            found[row["problem"]][row["sampler"]][row["seed"]] = row
    pairs = {
        problem: {
            name: _pair(group[SUBJECT], group[name], of)
            for name in sorted(group, key=str.lower)
            if name != SUBJECT and group[SUBJECT].keys() & group[name].keys()
        }
        for problem, group in found.items()
        if SUBJECT in group
    }
    if not any(pairs.values()):
        raise AutopeftError(
            f"report --against needs searches of {SUBJECT} and of others with the same problem, "
            "seed and 1 worker, got none: name their results too"
        )
    return pairs


def _by_sampler(pairs: _Pairs, cell: Callable[[_Pair], str]) -> str:
    """One cell for every sampler and problem; how many seeds it has, where others have more."""
    names = sorted({name for group in pairs.values() for name in group}, key=str.lower)
    most = max(len(pair.own) for group in pairs.values() for pair in group.values())
    table = [_line(["sampler", *pairs]), "|---" * (1 + len(pairs)) + "|"]
    for name in names:
        row = [group.get(name) for group in pairs.values()]
        table.append(
            _line([name, *("" if pair is None else _told(pair, cell, most) for pair in row)])
        )
    return "\n".join(table)


def _told(pair: _Pair, cell: Callable[[_Pair], str], most: int) -> str:
    seeds = len(pair.own)
    fewer = f" ({seeds} seed{'s' * (seeds > 1)})" if seeds < most else ""
    return f"{cell(pair)}{fewer}"


def _lead(pair: _Pair) -> str:
    """`+.11, (+.01), .00`; in brackets what the 95 % interval does not tell from nothing."""
    return ", ".join(map(_short, pair.leads))


def _short(lead: Array) -> str:
    mean = f"{lead.mean():+.2f}".replace("0.", ".", 1)
    ends = paired.interval(lead)
    return f"({mean})" if ends is not None and ends[0] <= 0 <= ends[1] else mean


def _need(pair: _Pair) -> str:
    return "not run to the end" if pair.ended else ", ".join(pair.reached)


def _in_full(pairs: _Pairs) -> str:
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
    table = [line for problem, group in pairs.items() for line in _lines(problem, group)]
    return "\n".join([_line(columns), "|---" * len(columns) + "|", *table])


def _lines(problem: str, group: Mapping[str, _Pair]) -> Iterator[str]:
    """Best last mean first; what was ended before its budget at the end."""
    order = sorted(group, key=lambda name: (group[name].ended, -group[name].other[:, -1].mean()))
    for name in order:
        yield _line([problem if name == order[0] else "", *_cells(name, group[name])])


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
    yield ", ".join(map(paired.told, pair.leads))
    yield from ("", "") if pair.ended else pair.reached


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
