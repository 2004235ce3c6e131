"""Results of searches as tables.

hv: (seeds, trials) share of the best hypervolume after each told trial.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import paired
from numpy.typing import NDArray

from autopeft.domain.errors import AutopeftError

SUBJECT = "autopeft"  # whose differences to all others are told
CHECKPOINTS = (8, 12, 20, 30, 43, 60, 90, 120, 160, 200)
Row = Mapping[str, Any]
Array = NDArray[np.float64]


class Search(NamedTuple):
    """What a line of the results is the result of."""

    problem: str
    sampler: str
    seed: int
    workers: int
    trials: int


def identity(row: Row) -> Search:
    return Search(*(row[name] for name in Search._fields))


def at(curve: Sequence[float], trials: int) -> float:
    """The value after so many trials; the last one where the space was exhausted before."""
    return curve[min(trials, len(curve)) - 1]


def stacked(found: Sequence[Sequence[float]], trials: int) -> Array:
    """(seeds, trials) values of these searches."""
    return np.array([[at(curve, n) for n in range(1, trials + 1)] for curve in found])


def report(rows: Sequence[Row], of: str = "curve", level: float | None = None) -> str:
    """Markdown: a table for every problem, number of workers and budget, and one of differences.

    of: which curve of a result, `curve`, `found` or `modelled`. level: a hypervolume of which every
    sampler's median number of trials is told.

    Raises:
        AutopeftError: there are no rows, or they lack the curve.
    """
    if not rows:
        raise AutopeftError("report needs at least one result, got none: run something first")
    if lacking := sum(of not in row for row in rows):
        raise AutopeftError(
            f"{_many(lacking, 'result')} lack {of}: run them again, --out elsewhere"
        )
    groups: dict[tuple[str, int, int], dict[str, dict[int, Row]]] = {}
    for row in rows:
        search = identity(row)
        group = groups.setdefault((search.problem, search.workers, search.trials), {})
        group.setdefault(search.sampler, {})[search.seed] = row
    tables = [
        part
        for key, group in groups.items()
        for part in (
            "\n".join(_table(*key, group, of, level)),
            "\n".join(_leads(group, of, key[2])),
        )
    ]
    return "\n\n".join(table for table in tables if table)


def first(rows: Sequence[Row], trials: int) -> list[Row]:
    """The first trials of longer searches; one of just this budget counts for itself.

    Raises:
        AutopeftError: no search is as long.
    """
    found = [row for row in rows if row["trials"] >= trials]
    if not found:
        raise AutopeftError(f"no search has {trials} trials: lower --trials")
    found.sort(key=lambda row: row["trials"] == trials)  # later rows stand for their search
    curves = ("curve", "found", "modelled")
    return [
        {**row, "trials": trials, **{name: row[name][:trials] for name in curves if name in row}}
        for row in found
    ]


def _table(
    problem: str,
    workers: int,
    trials: int,
    group: Mapping[str, Mapping[int, Row]],
    of: str,
    level: float | None,
) -> Iterator[str]:
    """A row a sampler, best first, on the seeds that all of them have."""
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in group.values())))
    left_out = max(len(by_seed) for by_seed in group.values()) - len(seeds)
    yield f"### {problem}: {trials} trials, {_many(workers, 'worker')}, {_many(len(seeds), 'seed')}"
    yield ""
    if not seeds:
        yield "No seed that all samplers have."
        return
    if left_out:
        yield f"{_many(left_out, 'seed')} that not all samplers have left out."
        yield ""
    shown = [n for n in CHECKPOINTS if n <= trials] or [trials]
    names = " | ".join(str(n) for n in shown)
    if level is not None:
        names += f" | median trials to {level:g}"
    yield f"| sampler | {names} | CPU s a suggestion (at the end) | trials to the best other's last | lead over it, paired |"
    yield "|---" * (len(shown) + 4 + (level is not None)) + "|"
    chosen = {name: [by_seed[seed] for seed in seeds] for name, by_seed in group.items()}
    curves = {
        name: stacked([row[of] for row in found], shown[-1]) for name, found in chosen.items()
    }
    for name in sorted(curves, key=lambda name: -curves[name][:, -1].mean()):
        values = " | ".join(paired.with_error(curves[name][:, n - 1]) for n in shown)
        if level is not None:
            values += f" | {paired.reached_by_half(curves[name], level)}"
        mean, end = (float(np.mean([row[key] for row in chosen[name]])) for key in _TIMES)
        race = _race(curves[name], [curve for other, curve in curves.items() if other != name])
        yield f"| {name} | {values} | {mean:.3f} ({end:.3f}) | {race} |"


_TIMES = ("cpu_s", "cpu_s_end")


def _race(own: Array, others: Sequence[Array]) -> str:
    """Against the best other sampler at the end: when our mean curve is there, and the lead."""
    if not others:
        return " | "
    best = max(others, key=lambda curve: float(curve[:, -1].mean()))
    trials = paired.reached(own, float(best[:, -1].mean()))
    return f"{trials} | {paired.told(own[:, -1] - best[:, -1])}"


def _leads(group: Mapping[str, Mapping[int, Row]], of: str, trials: int) -> Iterator[str]:
    """What the subject is ahead of each other sampler, on the seeds that both have."""
    own = group.get(SUBJECT, {})
    others = {name: sorted(own.keys() & rows.keys()) for name, rows in group.items()}
    others.pop(SUBJECT, None)
    if not any(others.values()):
        return
    shown = [n for n in CHECKPOINTS if n <= trials] or [trials]
    yield f"{SUBJECT} over each, paired, with 95 % intervals (! where all of it is below 0):"
    yield ""
    yield f"| over | seeds | {' | '.join(str(n) for n in shown)} |"
    yield "|---" * (len(shown) + 2) + "|"
    for name, seeds in sorted(others.items()):
        if seeds:
            ahead, behind = (
                stacked([rows[seed][of] for seed in seeds], shown[-1])
                for rows in (own, group[name])
            )
            cells = [_lead(ahead[:, n - 1] - behind[:, n - 1]) for n in shown]
            yield f"| {name} | {len(seeds)} | {' | '.join(cells)} |"


def _lead(differences: Array) -> str:
    return paired.told(differences) + (" !" if paired.worse(differences) else "")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
