"""What the terminal shows of a study in tables and lines; `views` has what is drawn.

stdout is data, stderr is talk: only what a verb was asked for goes to stdout.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from autopeft.domain.budget.spending import spent
from autopeft.domain.networks.describe import describe
from autopeft.domain.objective import Objective
from autopeft.domain.results.figures import amount, seeds
from autopeft.domain.results.front import best_baselines, first_measured
from autopeft.domain.results.prices import difference
from autopeft.domain.results.replicates import confirmed, seeds_told
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.hygiene import visible
from autopeft.importing import is_imported


class PlainConsole(Console):
    """A console on which no text that is shown can move the cursor or paint by itself."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and (plain := visible(segment.text)) != segment.text:
                yield Segment(plain, segment.style)
            else:
                yield segment


_WIDEST = 1000  # characters of a table that goes into a file or a pipe

out = PlainConsole()
talk = PlainConsole(stderr=True)


def say(text: str) -> None:
    """A sentence on stdout: folded between words on a terminal, one line elsewhere."""
    out.print(text, highlight=False, markup=False, soft_wrap=not out.is_terminal)


def show(table: Table) -> None:
    """A table on stdout: folded into a terminal, as wide as it is elsewhere."""
    width = None if out.is_terminal else _WIDEST
    out.print(table, width=width, crop=out.is_terminal)


def trial_table(
    objectives: Sequence[Objective],
    trials: Iterable[Trial],
    *,
    among: Sequence[Trial],
    believed: Sequence[Trial] = (),
    fallen: Sequence[Trial] = (),
    title: str = "",
) -> Table:
    """One row a trial: number, configuration, every objective with its standard error.

    among: all trials of the study; where a configuration has several seeds their number is shown.
    believed: the same trials with the model's means, which then stand in a column beside.
    fallen: those of them that a confirmation took off the front; they are marked.
    """
    measured = [objective for objective in objectives if believed and not objective.known]
    means = {trial.number: trial for trial in believed}
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column("configuration", overflow="fold")
    for objective in objectives:
        table.add_column(objective.metric, justify="right", no_wrap=True)
    for objective in measured:
        table.add_column(f"{objective.metric}, model", justify="right", no_wrap=True)
    for trial in trials:
        notes = ["baseline"] if trial.baseline else []
        notes += [text] if (text := seeds(trial, among)) else []
        notes += ["no longer on the front"] if trial in fallen else []
        name = describe(trial.configuration) + (f" ({', '.join(notes)})" if notes else "")
        cells = [_cell(trial, objective) for objective in objectives]
        mean = means.get(trial.number, trial)
        cells += [amount(o, mean.metrics[o.metric]) for o in measured]
        table.add_row(str(trial.number), Text(name), *cells)
    return table


def trial_row(
    trial: Trial, objectives: Sequence[Objective], among: Sequence[Trial]
) -> dict[str, Any]:
    """A trial of the front as `--json` prints it.

    seeds: completed trials of its configuration, of which the metrics are means; seed: its own.
    """
    return {
        "trial": trial.number,
        "state": str(trial.state),
        "baseline": trial.baseline,
        "name": describe(trial.configuration),
        "objectives": {o.metric: trial.metrics.get(o.metric) for o in objectives},
        "stderr": dict(trial.stderr),
        "metrics": trial.metrics,
        "configuration": trial.configuration.document(),
        "seed": trial.seed,
        "seeds": seeds_told(trial, among)[0],
        "confirmed": trial.configuration.key in confirmed(among),
        "why": trial.why,
        "expected_gain": trial.expected_gain,
        "expected_left": trial.expected_left,
        "provenance": dict(trial.provenance),
    }


def counts(trials: Sequence[Trial]) -> str:
    """`12 completed, 9 paused at a rung, 1 failed, 2 running`, without what is none."""
    names = {
        State.PLANNED: "planned to confirm",
        State.COMPLETED: "completed",
        State.PAUSED: "paused at a rung",
        State.FAILED: "failed",
        State.RUNNING: "running",
    }
    parts = [
        f"{number} {name}"
        for state, name in names.items()
        if (number := sum(trial.state is state for trial in trials))
    ]
    return ", ".join(parts) or "no trials"


def paused(trials: Sequence[Trial]) -> str:
    """`counts` once nobody runs them: what ran starts again from where its rung began."""
    return counts(trials).replace(" running", " interrupted in a rung")


def clock(seconds: float) -> str:
    """Seconds as `1:02:03` or `02:03`."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes:02d}:{left:02d}"


def against_baselines(spec: StudySpec, trials: Sequence[Trial], front: Sequence[Trial]) -> str:
    """A sentence for each baseline: what the front gains over it, with its standard error."""
    first = first_measured(spec.objectives)
    best = max(front, key=lambda t: first.score(t.metrics), default=None)
    lines = []
    for name, base in best_baselines(spec.objectives, trials).items():
        if best is None:
            continue
        metrics, held = base.metrics, amount(first, base.metrics[first.metric])
        if first.score(best.metrics) <= first.score(metrics):
            lines.append(f"Nothing on the front has a better {first.metric} than {name}: {held}.")
            continue
        gain = difference(first, best.metrics[first.metric] - metrics[first.metric])
        error = (
            best.stderr.get(first.metric, 0.0) ** 2 + base.stderr.get(first.metric, 0.0) ** 2
        ) ** 0.5
        told = difference(first, error).partition(" ")[0]
        costs = ", ".join(
            f"{o.metric} {amount(o, best.metrics[o.metric])} against {amount(o, metrics[o.metric])}"
            for o in spec.objectives
            if o is not first
        )
        lines.append(
            f"Best {first.metric} {amount(first, best.metrics[first.metric])} is {gain}"
            f"{f' (s.e. {told})' if error else ''} better than baseline "
            f"{name}'s {held}{f'; {costs}' if costs else ''}."
        )
    return "\n".join(lines)


def spent_lines(spec: StudySpec, trials: Sequence[Trial]) -> list[str]:
    """A line for each branch and baseline: what was spent on it; none where nothing was."""
    if is_imported(spec.document):
        return []
    hour = "GPU" if spec.resources.gpus_per_trial else "CPU"
    lines = []
    for row in spent(spec, trials):
        again = f", {row.confirming} to confirm" if row.confirming else ""
        lines.append(
            f"Spent on {'baseline' if row.baseline else 'branch'} {row.name}: "
            f"{_count(row.trials, 'trial')}, {_count(row.rates, 'learning rate')}{again}; "
            f"{row.steps:,} steps, "
            f"{row.device_hours:.3g} {hour} hours."
        )
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _cell(trial: Trial, objective: Objective) -> str:
    value = trial.metrics.get(objective.metric)
    if value is None:
        return "-"
    error = trial.stderr.get(objective.metric)
    return amount(objective, value) + (f" ±{error:.3f}" if error else "")
