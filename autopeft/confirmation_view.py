"""What `confirm` prints: every party with its interval, its odds and its verdict."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from rich.table import Table
from rich.text import Text

from autopeft.control import Control, compared, compared_lines
from autopeft.domain.budget.spending import spent
from autopeft.domain.networks.describe import describe
from autopeft.domain.results.confirmation import UNLIKELY, Against, Estimate, Party
from autopeft.domain.results.figures import amount, share
from autopeft.domain.results.front import first_measured, front
from autopeft.domain.results.replicates import fresh, searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.terminal import out, say, show, spent_lines


def confirmation_document(
    spec: StudySpec, trials: Sequence[Trial], parties: Sequence[Party], control: Control | None
) -> dict[str, Any]:
    """The report as `--json` prints it."""
    again = fresh(trials)
    own = searched(trials)
    there = {party.trial.number for party in parties} | {trial.confirms for trial in again}
    members = front(spec.objectives, spec.constraints, own)
    return {
        "study": spec.name,
        "seeds": sorted({trial.seed for trial in again}),
        "left": sum(t.state in (State.PLANNED, State.RUNNING) for t in again),
        "quality": first_measured(spec.objectives).metric,
        "test": any(party.test for party in parties),
        "parties": [_row(party, spec) for party in parties],
        "not_confirmed": [trial.number for trial in members if trial.number not in there],
        "spent": [vars(row) for row in spent(spec, trials)],
        "control": None if control is None else compared(spec, trials, control),
    }


def _row(party: Party, spec: StudySpec) -> dict[str, Any]:
    trial = party.trial
    return {
        "trial": trial.number,
        "name": describe(trial.configuration),
        "branch": trial.configuration.branch,
        "baseline": trial.baseline,
        "seeds": party.seeds,
        "failed": party.failed,
        "searched": {o.metric: trial.metrics[o.metric] for o in spec.objectives},
        "known": dict(trial.known),
        "validation": {name: vars(value) for name, value in party.validation.items()},
        "test": {name: vars(value) for name, value in party.test.items()},
        "on_front": party.on_front,
        "verdict": party.verdict,
        "against": [
            {
                "name": other.name,
                "trial": other.trial,
                "validation": None if other.validation is None else vars(other.validation),
                "test": None if other.test is None else vars(other.test),
            }
            for other in party.against
        ],
    }


def print_confirmation(
    spec: StudySpec,
    trials: Sequence[Trial],
    parties: Sequence[Party],
    document: Mapping[str, Any],
) -> None:
    """The report for people."""
    if parties:
        show(_table(spec, parties, tested=document["test"]))
        out.print()
    for party in parties:
        out.print(_named(party), highlight=False, markup=False, soft_wrap=True)
    if parties:
        out.print()
    if any(party.against for party in parties):
        show(_differences(spec, parties, tested=document["test"]))
        out.print()
    for line in _lines(spec, trials, parties, document):
        say(line)


def _table(spec: StudySpec, parties: Sequence[Party], *, tested: bool) -> Table:
    quality = first_measured(spec.objectives)
    title = f"{spec.name} on fresh seeds"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("trial", justify="right", no_wrap=True)
    for objective in spec.objectives:
        table.add_column(objective.metric, justify="right", overflow="fold")
    table.add_column("searched", justify="right", overflow="fold")
    if tested:
        table.add_column("test", justify="right", overflow="fold")
    table.add_column("on front", justify="right")
    table.add_column("")
    for party in parties:
        trial = party.trial
        cells = [_value(party, objective.metric) for objective in spec.objectives]
        cells.append(amount(quality, trial.metrics[quality.metric]))
        if tested:
            cells.append(_estimate(quality.metric, party.test.get(quality.metric)))
        table.add_row(
            str(trial.number),
            *cells,
            f"{party.on_front:.2f}",
            Text(party.verdict, style="" if party.verdict == "holds" else "dim"),
        )
    return table


def _named(party: Party) -> str:
    """Which configuration a number of the table is, and the seeds that it trained at."""
    note = " (baseline)" if party.trial.baseline else ""
    tried = party.seeds + party.failed
    seeds = f"{party.seeds} of {tried}" if party.failed else str(tried)
    name = describe(party.trial.configuration)
    return f"{party.trial.number:>5}  {name}{note}; {seeds} {'seed' if tried == 1 else 'seeds'}"


def _differences(spec: StudySpec, parties: Sequence[Party], *, tested: bool) -> Table:
    quality = first_measured(spec.objectives).metric
    table = Table(
        title=f"better in {quality} by, seed by seed",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("trial", "than", "validation", *(["test"] if tested else [])):
        table.add_column(name, justify="left" if name == "than" else "right", no_wrap=True)
    for party in parties:
        for other in party.against:
            than = f"{other.name} (trial {other.trial})"
            table.add_row(str(party.trial.number), than, *_against(other, tested=tested))
    return table


def _value(party: Party, metric: str) -> str:
    if metric in party.trial.known:
        return amount(metric, party.trial.known[metric])
    return _estimate(metric, party.validation.get(metric))


def _estimate(metric: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return amount(metric, estimate.mean) + _sure(estimate, ".3g")


def _sure(estimate: Estimate, form: str) -> str:
    """Nothing, where one seed says nothing of another."""
    return f" ±{estimate.half:{form}}" if isfinite(estimate.half) else ""


def _against(other: Against, *, tested: bool) -> list[str]:
    found = (other.validation, other.test)
    cells = ["-" if one is None else f"{one.mean:+.3g}{_sure(one, '.2g')}" for one in found]
    return cells if tested else cells[:1]


def _lines(
    spec: StudySpec,
    trials: Sequence[Trial],
    parties: Sequence[Party],
    document: Mapping[str, Any],
) -> list[str]:
    seeds = document["seeds"]
    lines = []
    if document["left"]:
        lines.append(
            f"Not finished: {document['left']} runs are left; `autopeft confirm {spec.name}`."
        )
    if seeds:
        lines.append(
            f"Means over {len(seeds)} fresh seeds ({seeds[0]} to {seeds[-1]}), ± half a 95 % "
            "interval; `searched` is what the search saw, `on front` the odds to be on it."
        )
    for trial in fresh(trials):
        if trial.failure is not None:
            lines.append(
                f"Trial {trial.confirms} failed at seed {trial.seed}: {trial.failure.reason}: "
                f"{trial.failure.message}"
            )
    failing = [str(p.trial.number) for p in parties if p.verdict == "does not hold"]
    if failing:
        lines.append(
            f"Do not hold: trial{'s' if len(failing) > 1 else ''} {', '.join(failing)} "
            f"(odds below {share(UNLIKELY)})."
        )
    if missing := document["not_confirmed"]:
        lines.append(
            f"Not confirmed: trials {', '.join(map(str, missing))}; `autopeft confirm {spec.name}` "
            "trains them at fresh seeds."
        )
    lines.append(_about_test(spec, tested=document["test"]))
    if document["control"] is not None:
        lines += compared_lines(document["control"])
    return [*lines, *spent_lines(spec, trials)]


def _about_test(spec: StudySpec, *, tested: bool) -> str:
    source = spec.data.get("test")
    if not tested:
        if spec.evaluator is not None:
            return (
                "Test: your code returned no `test` beside its metrics, so none is reported; "
                "it is asked for where context.test is true."
            )
        if source is None:
            return (
                "Test: the data has no test split, so none is reported; "
                "`data: {test: {carve: 0.15, from: train}}` in the file of a new study takes one."
            )
        return "Test: nothing was measured on the test split."
    where = ""
    if isinstance(source, dict) and "carve" in source:
        where = f", {share(float(source['carve']))} of {source.get('from', 'train')}"
    return f"Test: the test split{where} is only reported; nothing is chosen by it."
