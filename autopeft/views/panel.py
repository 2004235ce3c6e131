"""The panel of a study: progress, what runs, what failed, the front as a plot and a table.

The live view draws it twice a second, `status` once. It fits the console: in 24 lines of 80 columns
everything has a place; what is wider puts the table beside the plot; what is lower leaves out the
plot first, then rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autopeft.domain.networks.describe import describe
from autopeft.domain.results.figures import amount
from autopeft.domain.results.front import first_measured
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.terminal import clock, counts, paused
from autopeft.views.confirming import confirming_table
from autopeft.views.plot import front_plot
from autopeft.views.standing import (
    Standing,
    failures,
    seconds_left,
    shares,
    stop_text,
    usual_seconds,
)

_BESIDE = 116  # columns from which the table stands beside the plot
_TIMED = 72  # columns from which a running trial's time is shown
_NAMED = 56  # columns from which the front's configurations are
_PLOT = (8, 13)  # lines, with axes and legend
_TABLE_ROWS = (3, 10)


@dataclass(frozen=True)
class Moment:
    """What the clock says, beside the trials.

    elapsed: wall seconds of the study; None: not known.
    ended, since: how many trials ended in so many seconds; 0 where nobody counted.
    ran: trial -> seconds that its rung has run; empty where nobody looks.
    state: `searching`, `pausing ...`, `finished`: a word or a sentence. owner: ` of ada`, of
        a study of somebody else's.
    """

    elapsed: float | None
    ended: int = 0
    since: float = 0.0
    ran: Mapping[int, float] = field(default_factory=dict)
    state: str = "searching"
    owner: str = ""


@dataclass(frozen=True)
class Panel:
    """The drawing of a standing at a moment, for a console of any size."""

    spec: StudySpec
    now: Standing
    moment: Moment

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, (options.height or console.height) - 1
        fixed = [*self._head(width), *self._failed(), *self._front_line()]
        used = sum(_lines(console, part, options) for part in fixed)
        running = self._running(width, max(1, (height - used) // 4))
        room = height - used - sum(_lines(console, part, options) for part in running)
        yield Group(
            *self._head(width),
            *running,
            *self._failed(),
            *self._front_line(),
            *self._front(width, room),
        )

    # -- progress ----------------------------------------------------------------------------

    def _head(self, width: int) -> list[RenderableType]:
        spec, now, moment = self.spec, self.now, self.moment
        title = Table.grid(expand=True)
        title.add_column(overflow="ellipsis", no_wrap=True)
        title.add_column(justify="right", no_wrap=True)
        title.add_row(
            Text.assemble((spec.name, "bold"), moment.owner, "  ", (moment.state, "cyan")),
            "" if moment.elapsed is None else f"{clock(moment.elapsed)} elapsed",
        )
        told = (paused if moment.state == "paused" else counts)(now.trials)
        spent = f"{now.hours:.3g} {self._hour} hours spent"
        if now.saved is not None:
            spent += f", about {now.saved:.3g} saved by stopping early"
        return [title, self._bar(width), Text(told), Text(spent, style="dim")]

    def _bar(self, width: int) -> RenderableType:
        now, moment = self.now, self.moment
        found = shares(self.spec, now, moment.elapsed)
        said = ", ".join(f"{s.used:.3g} of {s.limit:g} {s.unit}" for s in found)
        left = None
        if moment.elapsed is not None and moment.since:
            left = seconds_left(
                self.spec, now, moment.elapsed, ended=moment.ended, since=moment.since
            )
        if left is not None:
            said += f", about {clock(left)} left"
        done = max((s.done for s in found), default=0.0)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column()
        grid.add_row(ProgressBar(1.0, done, width=max(8, min(34, width // 3))), Text(said))
        return grid

    @property
    def _hour(self) -> str:
        return "GPU" if self.spec.resources.gpus_per_trial else "CPU"

    # -- trials ------------------------------------------------------------------------------

    def _running(self, width: int, most: int) -> list[RenderableType]:
        running = self.now.running
        if not running:
            return []
        quality = first_measured(self.spec.objectives)
        timed = bool(self.moment.ran) and width >= _TIMED
        table = _table()
        table.add_column("running", justify="right", no_wrap=True)
        table.add_column("rung", no_wrap=True)
        if timed:
            table.add_column("", no_wrap=True)
        table.add_column(quality.metric, justify="right", no_wrap=True)
        table.add_column("configuration", no_wrap=True, overflow="ellipsis", ratio=1)
        shown = running if len(running) <= most else running[: max(1, most - 1)]
        for trial in shown:
            at = "-"
            if quality.metric in trial.metrics:
                at = amount(quality, trial.metrics[quality.metric])
            name = describe(trial.configuration)
            if trial.confirms is not None:
                name = f"seed {trial.seed} of trial {trial.confirms}: {name}"
            cells = [str(trial.number), stop_text(self.spec, trial)]
            cells += [self._took(trial)] if timed else []
            table.add_row(*cells, at, Text(name, style="dim"))
        parts: list[RenderableType] = [table]
        if len(shown) < len(running):
            parts.append(Text(f"and {len(running) - len(shown)} more running", style="dim"))
        return parts

    def _took(self, trial: Trial) -> str:
        ran = clock(self.moment.ran.get(trial.number, 0.0))
        usual = usual_seconds(self.spec, self.now.trials, trial)
        return ran if usual is None else f"{ran} of ~{clock(usual)}"

    def _failed(self) -> list[RenderableType]:
        """A line for each reason, with the last trial that failed for it."""
        rows: list[RenderableType] = []
        for reason, trials in failures(self.now.trials)[:3]:
            last = trials[-1]
            assert last.failure is not None
            said = f"{len(trials)} failed by {reason}, last trial {last.number}: "
            first = next(iter(last.failure.message.splitlines()), "")
            rows.append(Text(said + first, style="red", no_wrap=True, overflow="ellipsis"))
        return rows

    # -- the front ---------------------------------------------------------------------------

    def _front_line(self) -> list[RenderableType]:
        if not self.now.members:
            return []
        volume = Text(f"Hypervolume {self.now.hypervolume:.4f}.", style="cyan")
        if self.now.said and not self.now.confirming:
            volume.append(f" {' '.join(self.now.said)}")
        return [volume]

    def _front(self, width: int, room: int) -> Iterator[RenderableType]:
        now = self.now
        if now.confirming:
            yield confirming_table(self.spec, now.trials, now.searched, rows=max(2, room - 1))
            return
        if not now.members:
            return
        objectives, beside = self.spec.objectives, width >= _BESIDE
        few, many = _TABLE_ROWS
        rows = max(few, min(many, len(now.members), room - 2 if beside else room - 1 - _PLOT[0]))
        height = min(_PLOT[1], room if beside else room - 1 - min(rows, len(now.members)))
        plot = front_plot(
            objectives,
            now.members,
            now.behind,
            width=width // 2 - 2 if beside else min(width, 76),
            height=height if height >= _PLOT[0] else 0,
        )
        rows = rows if plot else max(1, room - 1)
        table = front_table(self.spec, now.members, rows, named=width >= _NAMED)
        if plot is not None and beside:
            grid = Table.grid(padding=(0, 2), expand=True)
            grid.add_column(no_wrap=True)
            grid.add_column(ratio=1)
            grid.add_row(plot, table)
            yield grid
            return
        if plot is not None:
            yield plot
        yield table


def front_table(
    spec: StudySpec, members: Sequence[Trial], most: int, *, named: bool
) -> RenderableType:
    """One line a member: number, objectives with errors; named: configuration, cut to the width."""
    table = _table()
    table.add_column("front", justify="right", no_wrap=True)
    for objective in spec.objectives:
        table.add_column(objective.metric, justify="right", no_wrap=True)
    if named:
        table.add_column("configuration", no_wrap=True, overflow="ellipsis", ratio=1)
    shown = members if len(members) <= most else members[: max(1, most - 1)]
    for trial in shown:
        cells = []
        for objective in spec.objectives:
            error = trial.stderr.get(objective.metric)
            value = amount(objective, trial.metrics[objective.metric])
            cells.append(value + (f" ±{error:.3f}" if error else ""))
        name = f"{'baseline ' if trial.baseline else ''}{describe(trial.configuration)}"
        table.add_row(str(trial.number), *cells, *([Text(name, style="dim")] if named else []))
    if len(shown) < len(members):
        more = Text(f"and {len(members) - len(shown)} more on the front", style="dim")
        return Group(table, more)
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, expand=True, header_style="bold")


def _lines(console: Console, part: RenderableType, options: ConsoleOptions) -> int:
    return len(console.render_lines(part, options.update(height=None), pad=False))
