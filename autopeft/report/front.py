"""The front of a study as an interactive picture, and as JSON.

The picture shows two objectives: the first measured one upwards, the first known one (the cost)
to the right; with a single objective, trials by number. Everything that the reader may have
named (study, branches, reasons) is escaped.
"""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from autopeft.domain.describe import describe, flat_params
from autopeft.domain.front import seeds
from autopeft.domain.objective import Objective
from autopeft.domain.replicates import confirmed, merged, seeds_told
from autopeft.domain.trial import State, Trial
from autopeft.report.values import Z95, axis_title, measured, unit

# Okabe and Ito (2008): told apart with every common colour blindness, and in print.
FRONT, BASELINE, OTHER = "#0072B2", "#D55E00", "#7F7F7F"
_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    # On by default in plotly 7: one click sends the data to a service of a third party.
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}


def front_figure(
    objectives: Sequence[Objective],
    trials: Sequence[Trial],
    front: Sequence[int],
    *,
    title: str = "Pareto front",
) -> str:
    """A self-contained HTML page (about 5 MB, no network): picture and table of the front.

    Trials without a finite value of both objectives (running, failed) are counted, not drawn; of
    a configuration with several seeds the mean is.

    Args:
        objectives: at least one.
        front: numbers of the trials on the front.
        title: heading of the page.
    """
    x, y = axes(objectives)
    shown = merged(trials)
    drawn = [t for t in shown if _place(x, t) is not None and _place(y, t) is not None]
    figure = go.Figure(layout=_layout(x, y, drawn))
    for trace in _traces(objectives, x, y, drawn, set(front), trials):
        figure.add_trace(trace)
    picture = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        config=_CONFIG,
    )
    return _PAGE.format(
        title=escape(title),
        summary=escape(_summary(trials, shown, drawn, front)),
        picture=picture,
        table=_table(objectives, [t for t in shown if t.number in set(front)], trials),
    )


def front_json(
    objectives: Sequence[Objective], trials: Sequence[Trial], front: Sequence[int]
) -> str:
    """The front as JSON text, in the order of `front`; values that are not finite become null."""
    by_number = {trial.number: trial for trial in merged(trials)}
    document = {
        "objectives": [
            {"metric": o.metric, "goal": o.goal, "scale": o.scale, "unit": unit(o.metric)}
            for o in objectives
        ],
        "front": [_row(by_number[number], trials) for number in front if number in by_number],
    }
    return json.dumps(document, indent=2, allow_nan=False, default=str)


def axes(objectives: Sequence[Objective]) -> tuple[Objective | None, Objective]:
    """The objectives drawn to the right (None: the trial's number) and upwards."""
    y = next((o for o in objectives if not o.known), objectives[0])
    others = [o for o in objectives if o is not y]
    return next((o for o in others if o.known), others[0] if others else None), y


def staircase(
    x: Objective | None, y: Objective, trials: Sequence[Trial]
) -> list[tuple[float, float]]:
    """The points of the front's line, left to right: trials that no other beats in this plane."""
    if x is None:
        return []
    best, kept = -math.inf, []
    order = sorted(trials, key=lambda t: (-x.score(t.metrics), -y.score(t.metrics)))
    for trial in order:  # from the best x on, each step has to gain in y
        if y.score(trial.metrics) > best:
            best = y.score(trial.metrics)
            kept.append((_value(x, trial), _value(y, trial)))
    return sorted(kept)


def _traces(
    objectives: Sequence[Objective],
    x: Objective | None,
    y: Objective,
    trials: Sequence[Trial],
    front: set[int],
    among: Sequence[Trial],
) -> Iterable[go.Scatter]:
    on_front = [trial for trial in trials if trial.number in front]
    finished = [trial for trial in trials if trial.state is State.COMPLETED]
    steps = staircase(x, y, on_front)
    if len(steps) > 1:
        yield go.Scatter(
            x=[point[0] for point in steps],
            y=[point[1] for point in steps],
            mode="lines",
            # Up to the next point only what the last one reached is known to be possible.
            line={
                "shape": "hv" if x and x.goal == "minimize" else "vh",
                "color": FRONT,
                "width": 2,
            },
            hoverinfo="skip",
            showlegend=False,
        )
    groups = (
        ("stopped early", [t for t in trials if t.state is not State.COMPLETED], _hollow()),
        (
            "dominated",
            [t for t in finished if not t.baseline and t.number not in front],
            _marker(OTHER, "circle", 8, 0.35),
        ),
        ("baseline", [t for t in finished if t.baseline], _marker(BASELINE, "diamond", 12, 1.0)),
    )
    for name, group, marker in groups:
        if group:
            yield _scatter(name, objectives, x, y, group, front, among, marker)
    best = [trial for trial in on_front if not trial.baseline]
    if best:
        marker = _marker(FRONT, "circle", 11, 1.0)
        yield _scatter("front", objectives, x, y, best, front, among, marker, bars=True)


def _scatter(
    name: str,
    objectives: Sequence[Objective],
    x: Objective | None,
    y: Objective,
    trials: Sequence[Trial],
    front: set[int],
    among: Sequence[Trial],
    marker: dict[str, Any],
    *,
    bars: bool = False,
) -> go.Scatter:
    half = [Z95 * trial.stderr.get(y.metric, 0.0) for trial in trials]
    ringed = [2 if trial.baseline and trial.number in front else 0 for trial in trials]
    return go.Scatter(
        x=[_place(x, trial) for trial in trials],
        y=[_place(y, trial) for trial in trials],
        mode="markers",
        name=f"{name} ({len(trials)})",
        marker={**marker, "line": {"color": FRONT, "width": ringed}} if any(ringed) else marker,
        error_y={"type": "data", "array": half, "thickness": 1, "width": 3, "color": FRONT}
        if bars and any(half)
        else None,
        text=[_hover(objectives, trial, trial.number in front, among) for trial in trials],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(
    objectives: Sequence[Objective], trial: Trial, on_front: bool, among: Sequence[Trial]
) -> str:
    state = "on the front" if on_front else str(trial.state)
    if trial.state is State.PAUSED and trial.rungs:
        state = f"stopped early, after step {trial.rungs[-1].step}"
    configuration = trial.configuration
    branch = f"{'baseline' if trial.baseline else 'branch'} {configuration.branch}"
    lines = [
        f"<b>#{trial.number} {escape(describe(configuration))}</b>",
        escape(f"{branch} · {seeds(trial, among) or f'seed {trial.seed}'} · {state}"),
        *(
            escape(f"{o.metric}: {measured(o, trial)} {unit(o.metric)}".rstrip())
            for o in objectives
        ),
    ]
    if trial.why:
        lines.append(f"<i>{escape(trial.why)}</i>")
    return "<br>".join(lines)


def _place(objective: Objective | None, trial: Trial) -> float | None:
    """Where a trial is drawn on the axis of the objective; None where it cannot be."""
    if objective is None:
        return float(trial.number)
    value = trial.metrics.get(objective.metric)
    if value is None or not math.isfinite(value):
        return None
    if objective.scale == "log" and value <= 0:
        return 1.0 if value == 0 else None  # as in Objective.transform
    return float(value)


def _value(objective: Objective, trial: Trial) -> float:
    value = _place(objective, trial)
    assert value is not None, "trials without a place were left out"
    return value


def _summary(
    trials: Sequence[Trial], shown: Sequence[Trial], drawn: Sequence[Trial], front: Sequence[int]
) -> str:
    """shown: every completed configuration once, and the trials of the others."""
    failed = sum(trial.state is State.FAILED for trial in trials)
    waiting = len(shown) - len(drawn) - sum(trial.state is State.FAILED for trial in shown)
    replicates = len(trials) - len(shown)
    baselines = sum(trial.baseline and trial.number in front for trial in trials)
    beside = f" ({baselines} of them baselines, ringed)" if baselines else ""
    parts = [f"{len(trials)} trial{'' if len(trials) == 1 else 's'}"]
    parts.append(f"{len(front)} on the front{beside}")
    if replicates:
        parts.append(f"{replicates} of them another seed of one")
    if failed:
        parts.append(f"{failed} failed")
    if waiting > 0:
        parts.append(f"{waiting} without a result yet")
    of = (
        "the validation metric, of the mean where there are seeds"
        if replicates
        else ("one run's validation metric")
    )
    return " · ".join(parts) + f". Bars on the front: 95 % intervals of {of}."


def _row(trial: Trial, among: Sequence[Trial]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "name": describe(trial.configuration),
        "branch": trial.configuration.branch,
        "baseline": trial.baseline,
        "seed": trial.seed,
        "seeds": seeds_told(trial, among)[0],
        "confirmed": trial.configuration.key in confirmed(among),
        "metrics": _finite(trial.metrics),
        "stderr": _finite(dict(trial.stderr)),
        "seconds": trial.seconds,
        "params": flat_params(trial.configuration),
        "configuration": trial.configuration.document(),
    }


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _table(objectives: Sequence[Objective], trials: Sequence[Trial], among: Sequence[Trial]) -> str:
    first = objectives[0]
    rows = sorted(trials, key=lambda t: -first.score(t.metrics))
    head = "".join(f"<th>{escape(axis_title(o))}</th>" for o in objectives)
    body = "".join(
        f"<tr><td>{t.number}</td><td>{escape(describe(t.configuration))}"
        f"{' (baseline)' if t.baseline else ''}{_noted(seeds(t, among))}</td>"
        + "".join(f"<td class='number'>{escape(measured(o, t))}</td>" for o in objectives)
        + "</tr>\n"
        for t in rows
    )
    return (
        f"<table><thead><tr><th>trial</th><th>configuration</th>{head}</tr></thead>\n{body}</table>"
    )


def _noted(text: str) -> str:
    return f" ({text})" if text else ""


def _layout(x: Objective | None, y: Objective, drawn: Sequence[Trial]) -> go.Layout:
    return go.Layout(
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 14},
        hoverlabel={"align": "left", "bgcolor": "white"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        margin={"l": 70, "r": 20, "t": 80, "b": 60},
        height=590,
        xaxis=_axis(x, drawn),
        yaxis=_axis(y, drawn),
    )


def _axis(objective: Objective | None, drawn: Sequence[Trial]) -> dict[str, Any]:
    if objective is None:
        return {"title": {"text": "trial"}}
    axis: dict[str, Any] = {"title": {"text": escape(axis_title(objective))}, "zeroline": False}
    if objective.scale == "log":
        values = [_value(objective, trial) for trial in drawn] or [1.0]
        axis |= {"type": "log", "exponentformat": "SI"}
        if max(values) >= 100 * min(values):
            axis["dtick"] = 1  # decades; within fewer of them plotly's own ticks say more
    return axis


def _marker(colour: str, symbol: str, size: int, opacity: float) -> dict[str, Any]:
    return {"color": colour, "symbol": symbol, "size": size, "opacity": opacity}


def _hollow() -> dict[str, Any]:
    return {"color": OTHER, "symbol": "circle-open", "size": 8, "opacity": 0.6}


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 1rem auto;
       padding: 0 1rem; }}
h1 {{ font-size: 1.25rem; margin: 0; }}
p {{ margin: 0 0 .5rem; color: #555; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; }}
td.number {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
{picture}
{table}
</body>
</html>
"""
