"""Everything about one trial: as values for `show --json`, and as text."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autopeft.domain.networks.describe import describe, flat_params
from autopeft.domain.results.figures import amount, seeds, share
from autopeft.domain.results.front import baseline_metrics, front
from autopeft.domain.results.replicates import averaged, fresh
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.namespaces import file_name, of_owner
from autopeft.terminal import clock, trial_row
from autopeft.views.layers import layers_table

Json = Any


def trial_document(
    spec: StudySpec, trials: Sequence[Trial], trial: Trial, *, adapter: Path
) -> dict[str, Json]:
    """What `show --json` prints: the row of `front --json`, and the rest.

    adapter: the folder where its weights are, if they were kept.
    """
    kept = any(adapter.glob("*.safetensors"))
    failure = trial.failure
    return {
        "study": spec.name,
        **trial_row(trial, spec.objectives, trials),
        "branch": trial.configuration.branch,
        "place": place(spec, trials, trial),
        "params": flat_params(trial.configuration),
        "point": dict(trial.point),
        "known": dict(trial.known),
        "rungs": [
            {
                "rung": rung.index,
                "step": rung.step,
                "metrics": dict(rung.metrics),
                "stderr": dict(rung.stderr),
                "seconds": rung.seconds,
                "started": rung.started,
                "ended": rung.ended,
                "worker": rung.worker,
                "test": dict(rung.test),
                "test_stderr": dict(rung.test_stderr),
            }
            for rung in trial.rungs
        ],
        "created": trial.created,
        "seconds": trial.seconds,
        "device_hours": trial.seconds * spec.resources.devices / 3600,
        "failure": None
        if failure is None
        else {
            "reason": str(failure.reason),
            "message": failure.message,
            "traceback": failure.details,
        },
        "confirms": trial.confirms,
        "confirmed_by": [t.number for t in fresh(trials) if t.confirms == trial.number],
        "adapter": str(adapter) if kept else None,
        "export": _export(spec, trial) if kept else None,
    }


def place(spec: StudySpec, trials: Sequence[Trial], trial: Trial) -> str:
    """Where it stands: `on the front`, `behind trial 4`, or why it does not compete."""
    if trial.state is not State.COMPLETED:
        return {State.PAUSED: "stopped early at a rung"}.get(trial.state, str(trial.state))
    if trial.confirms is not None:
        return f"confirms trial {trial.confirms}"
    means = {mean.configuration.key: mean for mean in averaged(trials)}
    told = seeds(trial, trials)
    by = f" by the mean of its {told}" if told else ""
    own = means[trial.configuration.key]
    if own.number != trial.number:
        return f"another seed of trial {own.number}"
    members = front(spec.objectives, spec.constraints, trials)
    if any(member.number == trial.number for member in members):
        return f"on the front{by}"
    against = baseline_metrics(spec.objectives, trials)
    broken = [c.text for c in spec.constraints if not c.holds(own.metrics, against)]
    if broken:
        return f"breaks {' and '.join(broken)}{by}"
    scores = [o.score(own.metrics) for o in spec.objectives]
    for member in members:
        theirs = [o.score(member.metrics) for o in spec.objectives]
        if all(t >= s for t, s in zip(theirs, scores, strict=True)):
            better = "which is as good or better in everything"
            return f"behind trial {member.number}, {better}{by and ',' + by}"
    return f"not on the front{by}"


def trial_view(
    spec: StudySpec, trials: Sequence[Trial], trial: Trial, document: Mapping[str, Json]
) -> RenderableType:
    """The text. document: its `trial_document`."""
    return Group(*_parts(spec, trials, trial, document))


def _parts(
    spec: StudySpec, trials: Sequence[Trial], trial: Trial, document: Mapping[str, Json]
) -> Iterator[RenderableType]:
    state = (
        f"{trial.state}, {document['place']}"
        if trial.state is State.COMPLETED
        else (document["place"])
    )
    kind = "baseline " if trial.baseline else "trial "
    yield Text.assemble(
        (f"{kind}{trial.number} of {spec.name}", "bold"),
        of_owner(document.get("owner")),
        f"  {state}",
    )
    yield Text(describe(trial.configuration), style="cyan")
    yield from _section("why it was proposed", _why(trial))
    if trial.failure is not None:
        yield from _section("failure", _failure(trial))
    if not _bare(trial):
        table = layers_table(
            trial.configuration.architecture, _layers(trials), trial.provenance.get("ranks")
        )
        yield from _section("architecture: size of each module, by layer", table)
    yield from _section("metrics", _metrics(spec, trial))
    if trial.rungs:
        yield from _section("rungs", _rungs(spec, trial))
    yield from _section("configuration", _configuration(trial))
    if trial.provenance:
        yield from _section("provenance", _pairs(_flat(trial.provenance)))
    yield from _section("take it away", Text(_away(spec, trial, document)))


def _section(title: str, body: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, style="bold")
    yield body


def _why(trial: Trial) -> Text:
    lines = [trial.why or "not told"]
    if trial.expected_gain is not None:
        lines.append(f"It was expected to add {share(trial.expected_gain)} to the hypervolume.")
    if trial.expected_left is not None:
        lines.append(f"All candidates together: {share(trial.expected_left)}.")
    return Text("\n".join(lines))


def _failure(trial: Trial) -> RenderableType:
    assert trial.failure is not None
    head = Text(f"{trial.failure.reason}: {trial.failure.message}", style="red")
    if not trial.failure.details:
        return head
    return Group(head, Text(trial.failure.details.rstrip(), style="dim"))


def _layers(trials: Sequence[Trial]) -> int:
    """As many layers as the model has, as far as a trial of the study says."""
    modules = [m for t in trials for m in t.configuration.architecture.modules]
    return 1 + max((layer for module in modules for layer in module.layers), default=-1)


def _metrics(spec: StudySpec, trial: Trial) -> Table:
    objectives = {o.metric: o for o in spec.objectives}
    goals = {name: o.goal for name, o in objectives.items()}
    constrained = {c.metric: c.text for c in spec.constraints}
    table = _grid(3)
    names = dict.fromkeys([*goals, *constrained, *trial.metrics])
    for name in names:
        if name not in trial.metrics:
            table.add_row(Text(name), "-", "not measured")
            continue
        error = trial.stderr.get(name)
        metric = objectives.get(name) or spec.metrics.get(name) or name
        value = amount(metric, trial.metrics[name]) + (f" ±{error:.3g}" if error else "")
        notes = [f"objective, {goals[name]}"] if name in goals else []
        notes += [constrained[name]] if name in constrained else []
        notes += ["known before training"] if name in trial.known else []
        table.add_row(Text(name), value, Text(", ".join(notes), style="dim"))
    return table


def _rungs(spec: StudySpec, trial: Trial) -> Table:
    measured = [o for o in spec.objectives if not o.known]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("rung", "step", *(o.metric for o in measured), "took"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ended", no_wrap=True)
    table.add_column("on", overflow="fold")
    for rung in trial.rungs:
        metrics = rung.metrics
        values = [amount(o, metrics[o.metric]) if o.metric in metrics else "-" for o in measured]
        ended = time.strftime("%Y-%m-%d %H:%M", time.localtime(rung.ended))
        table.add_row(
            f"{rung.index + 1} of {len(spec.stops_of(trial))}",
            f"{rung.step:,}",
            *values,
            clock(rung.seconds),
            ended,
            Text(rung.worker),
        )
    return table


def _configuration(trial: Trial) -> Table:
    rows = flat_params(trial.configuration)
    if _bare(trial):
        rows = {k: v for k, v in rows.items() if k not in ("method", "allocation")}
    return _pairs({**rows, "seed": trial.seed})


def _bare(trial: Trial) -> bool:
    """Whether its parameters are all there is: the user's own code makes of them what it likes."""
    return bool(trial.configuration.parameters) and trial.configuration.architecture.frozen


def _pairs(rows: Mapping[str, Json]) -> Table:
    table = _grid(2)
    for name, value in rows.items():
        text = f"{value:,.6g}" if isinstance(value, float) else str(value)
        table.add_row(Text(name), Text(text))
    return table


def _grid(columns: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    for _ in range(columns - 1):
        table.add_column(overflow="fold")
    return table


def _flat(values: Mapping[str, Json], prefix: str = "") -> dict[str, Json]:
    """Nested mappings as `versions.torch`; ranks and scores, one a module, are drawn above."""
    flat: dict[str, Json] = {}
    for name, value in values.items():
        if name in ("ranks", "layer_scores"):
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _export(spec: StudySpec, trial: Trial) -> str:
    to = f"{file_name(spec.name)}-trial-{trial.number}"
    return f"autopeft export {spec.name} --trial {trial.number} --to {to}"


def _away(spec: StudySpec, trial: Trial, document: Mapping[str, Json]) -> str:
    if document["export"]:
        return str(document["export"])
    if trial.state is not State.COMPLETED:
        return f"Only completed trials can be exported: see `autopeft front {spec.name}`."
    if _bare(trial):
        return (
            "Its weights are your code's own: there are no PEFT modules to export. "
            f"`autopeft show {spec.name} {trial.number} --json` has its parameters."
        )
    return (
        "Its weights were not kept: those of the front and of the best baselines are. "
        f"See `autopeft front {spec.name}`."
    )
