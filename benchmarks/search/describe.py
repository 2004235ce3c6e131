"""What a table says of itself: spread, noise, the best of each branch, what the first rung tells."""

from collections.abc import Iterator, Sequence

import numpy as np
from rows import Row, Table
from scipy.stats import spearmanr

_METRIC = "accuracy"


def described(name: str, table: Table) -> str:
    """The figures of a table as markdown."""
    return "\n".join([f"### {name}", "", *_counts(table), "", *_best(table), "", *_noise(table)])


def _counts(table: Table) -> Iterator[str]:
    runs = {(row.key, row.seed) for row in table.rows}
    failed = {(row.key, row.seed) for row in table.rows if row.failure}
    yield (
        f"{len(table.rows)} rows: {len(runs)} runs of {len({key for key, _ in runs})} "
        f"configurations, {len(failed)} failed."
    )
    scores = _scores(_first(table))
    if len(scores):
        low, *quartiles, high = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1])
        middle = ", ".join(f"{q:.3f}" for q in quartiles)
        yield f"Final {_METRIC} at the first seed: {low:.3f} to {high:.3f}, quartiles {middle}."
    seconds = [sum(row.seconds for row in run) for run in _runs(table)]
    yield f"Seconds a run: median {np.median(seconds):.1f}, {sum(seconds) / 3600:.1f} hours in all."


def _best(table: Table) -> Iterator[str]:
    yield f"| branch | configurations | best {_METRIC} | of | adapter_params | median |"
    yield "|---|---|---|---|---|---|"
    for branch in dict.fromkeys(sorted(row.branch for row in table.rows)):
        rows = [row for row in _first(table) if row.branch == branch]
        if not rows:
            yield f"| {branch} | 0 | | | | |"
            continue
        best = max(rows, key=lambda row: row.metrics[_METRIC])
        yield (
            f"| {branch} | {len(rows)} | {best.metrics[_METRIC]:.3f} | {_told(best)} "
            f"| {best.known['adapter_params']:,.0f} | {np.median(_scores(rows)):.3f} |"
        )


def _told(row: Row) -> str:
    size = "" if row.size is None else f" {row.size}"
    kinds = row.targets.replace("attention.self.", "").replace(" ", ", ")
    layers = ", ".join(str(layer) for layer, on in enumerate(row.layers) if on)
    return f"{row.peft_type}{size} on {kinds}; layers {layers}; rate {row.learning_rate:g}"


def _noise(table: Table) -> Iterator[str]:
    pairs = _pairs(table)
    if len(pairs):
        good = pairs[pairs.mean(1) >= np.median(_scores(_first(table)))]
        yield (
            f"Noise between two seeds, pooled sd (a pair's difference / √2, root mean square): "
            f"{_pooled(pairs):.4f} of {len(pairs)} pairs, {_pooled(good):.4f} of the {len(good)} "
            "at or above the median; "
            f"sampling error of {_METRIC} on the validation rows: {_error(table):.4f}."
        )
    for rung in sorted({row.rung for row in table.rows if row.stop is not None}):
        early, final = _early(table, rung)
        if len(final) > 2:
            top = final >= np.median(final)
            yield (
                f"Rung {rung + 1} against the end, Spearman: {_rank(early, final):.2f} of "
                f"{len(final)}, {_rank(early[top], final[top]):.2f} in the upper half."
            )


def _first(table: Table) -> list[Row]:
    """The last rungs at the first seed."""
    return [row for row in table.last if row.seed == table.first_seed]


def _runs(table: Table) -> list[list[Row]]:
    runs: dict[tuple[str, int], list[Row]] = {}
    for row in table.rows:
        runs.setdefault((row.key, row.seed), []).append(row)
    return list(runs.values())


def _scores(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row.metrics[_METRIC] for row in rows])


def _pairs(table: Table) -> np.ndarray:
    """(p, 2) final scores of the p configurations that came to their end at two seeds."""
    found: dict[str, list[float]] = {}
    for row in sorted(table.last, key=lambda row: row.seed):
        found.setdefault(row.key, []).append(row.metrics[_METRIC])
    return np.array([scores[:2] for scores in found.values() if len(scores) > 1]).reshape(-1, 2)


def _pooled(pairs: np.ndarray) -> float:
    """sd of one run, from p pairs: sqrt(sum of squared differences / 2p)."""
    return float(np.sqrt(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2) / 2)) if len(pairs) else np.nan


def _error(table: Table) -> float:
    return float(np.median([row.stderr[_METRIC] for row in table.last]))


def _early(table: Table, rung: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) scores at a rung and (n,) at the end, first seed."""
    at = {row.key: row for row in table.rows if row.rung == rung and row.seed == table.first_seed}
    final = _first(table)
    return _scores([at[row.key] for row in final]), _scores(final)


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
