"""The front as a small plot of characters.

Drawn here: of the libraries that draw in terminals plotext is the one people know; from 6.0 on it
is compiled code, and all versions keep one figure for the whole process, which a view that is drawn
from a thread of its own cannot share.

x: the objective to the right (`report.values.axes`), or the trial's number, its values growing;
y: upwards, better is up. The lower half of the others does not stretch it: one that diverged would
press the front into a line. What lies below the plot is marked at its lower edge.
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from rich.text import Text

from autopeft.domain.objective import Objective
from autopeft.domain.results.figures import amount
from autopeft.domain.trial import Trial
from autopeft.report.values import axes

_FRONT, _BASELINE, _OTHER, _BELOW = "●", "◆", "·", "▾"
_STYLES = {
    _FRONT: "bold cyan",
    _BASELINE: "yellow",
    _OTHER: "dim",
    _BELOW: "dim",
    **dict.fromkeys("─│╯", "cyan"),
}
_LEAST_WIDTH, _LEAST_HEIGHT = 24, 3


def front_plot(
    objectives: Sequence[Objective],
    members: Sequence[Trial],
    others: Sequence[Trial],
    *,
    width: int,
    height: int,
) -> Text | None:
    """The plot; None where there is nothing to draw, or too little room.

    members: of the front. others: completed trials behind it.
    width, height: in characters, with axes, labels and legend.
    """
    x, y = axes(objectives)
    across, upwards = _coordinate(x), _coordinate(y)
    up = 1 if y.goal == "maximize" else -1
    others, members = (
        sorted(
            (t for t in trials if math.isfinite(across(t) + upwards(t))),
            key=lambda t: up * upwards(t),
        )
        for trials in (others, members)
    )
    if not members:
        return None
    shown = [*others, *members]
    within = sorted([*others[len(others) // 2 :], *members], key=lambda t: up * upwards(t))
    named = {0: _label(y, within[-1]), height - 4: _label(y, within[0])}
    margin = max(map(len, named.values()))
    columns, rows = width - margin - 2, height - 3
    if columns < _LEAST_WIDTH or rows < _LEAST_HEIGHT:
        return None
    column = _scale([across(t) for t in shown], columns)
    row = _scale([-up * upwards(t) for t in within], rows)
    grid = [[" "] * columns for _ in range(rows)]

    def put(trial: Trial, mark: str) -> None:
        at = row(-up * upwards(trial))
        kind = _BASELINE if trial.baseline else mark
        grid[min(at, rows - 1)][column(across(trial))] = kind if at < rows else _BELOW

    for trial in others:
        put(trial, _OTHER)
    if x is not None and x.goal == "minimize" and len(objectives) == 2:
        _stairs(grid, sorted((column(across(t)), row(-up * upwards(t))) for t in members))
    for trial in (*(t for t in others if t.baseline), *members):
        put(trial, _FRONT)
    text = Text(no_wrap=True, overflow="crop")
    text.append(f"{y.metric:<{margin + 2}} ", style="bold")
    text.append(_legend(grid), style="dim")
    for number, line in enumerate(grid):
        text.append(f"\n{named.get(number, ''):>{margin}} {'┤' if number in named else '│'}")
        for style, run in groupby(line, key=lambda character: _STYLES.get(character, "")):
            text.append("".join(run), style=style)
    text.append(f"\n{' ' * (margin + 1)}└{'─' * columns}\n")
    ordered = sorted(shown, key=across)
    text.append(_foot(x, ordered[0], ordered[-1], margin + 2, columns))
    return text


def _legend(grid: Sequence[Sequence[str]]) -> str:
    names = {_FRONT: "front", _BASELINE: "baseline", _OTHER: "others", _BELOW: "below"}
    there = {character for line in grid for character in line}
    return "  ".join(f"{mark} {name}" for mark, name in names.items() if mark in there)


def _coordinate(objective: Objective | None) -> Callable[[Trial], float]:
    """A trial's place along an axis: the value, its logarithm on a log scale."""

    def place(trial: Trial) -> float:
        if objective is None:
            return float(trial.number)
        value = trial.metrics[objective.metric]
        if objective.scale == "log":
            return math.log(value) if value > 0 else -math.inf
        return value

    return place


def _scale(values: Sequence[float], cells: int) -> Callable[[float], int]:
    """value -> cell, 0 at the least of the values; further ones lie beyond the last cell."""
    low, high = min(values), max(values)

    def cell(value: float) -> int:
        return round((0.5 if high == low else (value - low) / (high - low)) * (cells - 1))

    return cell


def _stairs(grid: list[list[str]], places: Sequence[tuple[int, int]]) -> None:
    """The border of what the front dominates: from each member right, then up to the next.

    places: (column, row) of the members from left to right. What is drawn already stays.
    """

    def put(row: int, column: int, mark: str) -> None:
        if grid[row][column] == " ":
            grid[row][column] = mark

    for (column, row), (further, above) in pairwise(places):
        for between in range(column + 1, further):
            put(row, between, "─")
        for level in range(above + 1, row):
            put(level, further, "│")
        put(row, further, "╯" if above < row else "─")


def _label(objective: Objective | None, trial: Trial) -> str:
    if objective is None:
        return str(trial.number)
    return amount(objective, trial.metrics[objective.metric])


def _foot(x: Objective | None, left: Trial, right: Trial, indent: int, columns: int) -> Text:
    """`1,536      adapter_params (log)      73,728` below the axis."""
    low, high = _label(x, left), _label(x, right)
    name = "trial" if x is None else x.metric + (" (log)" if x.scale == "log" else "")
    room = columns - len(low) - len(high) - 2
    middle = name.center(room) if room >= len(name) else " " * max(1, room)
    text = Text(" " * indent)
    text.append(f"{low} ")
    text.append(middle, style="bold")
    text.append(f" {high}")
    return text
