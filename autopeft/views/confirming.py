"""A confirmation as it runs: what each configuration says at the fresh seeds that are told."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from autopeft.domain.networks.describe import describe
from autopeft.domain.results.figures import amount
from autopeft.domain.results.front import first_measured
from autopeft.domain.results.replicates import completed
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial


def confirming_table(
    spec: StudySpec, again: Sequence[Trial], trials: Sequence[Trial], *, rows: int
) -> Table:
    """One line a configuration, in the order of the search's trials.

    again: the trials that confirm. trials: of the search.
    """
    quality = first_measured(spec.objectives).metric
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column(f"{quality}, mean", justify="right", no_wrap=True)
    table.add_column("searched", justify="right", no_wrap=True)
    table.add_column("configuration", no_wrap=True, overflow="ellipsis", ratio=1)
    before = {trial.number: trial for trial in trials}
    groups: dict[int, list[Trial]] = {}
    for trial in again:
        assert trial.confirms is not None
        groups.setdefault(trial.confirms, []).append(trial)
    for number, group in sorted(groups.items())[:rows]:
        told = [t.metrics[quality] for t in completed(group)]
        ended = sum(t.state in (State.COMPLETED, State.FAILED) for t in group)
        mean = amount(quality, sum(told) / len(told)) if told else "-"
        own = before.get(number)
        searched = amount(quality, own.metrics[quality]) if own else "-"
        name = f"{'baseline ' if group[0].baseline else ''}{describe(group[0].configuration)}"
        cells = [str(number), f"{ended} of {len(group)}", mean, searched]
        table.add_row(*cells, Text(name, style="dim"))
    return table
