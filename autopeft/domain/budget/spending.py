"""What every branch and baseline has spent: who compares them has to know."""

from collections.abc import Iterable
from dataclasses import dataclass

from autopeft.domain.results.replicates import fresh, searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial


@dataclass(frozen=True)
class Spent:
    """Of a branch or a baseline. device_hours: GPU hours, CPU hours where trials have no GPU.

    trials: of the search; rates: learning rates among them; steps: of the optimiser.
    confirming: trials that confirmed, which are in steps and hours too.
    """

    name: str
    baseline: bool
    trials: int
    rates: int
    confirming: int
    steps: int
    device_hours: float


def spent(spec: StudySpec, trials: Iterable[Trial]) -> list[Spent]:
    """A row for each branch and baseline, in the order of the space."""
    trials = list(trials)
    names = {branch.name: branch.baseline for branch in spec.space.branches}
    for trial in trials:  # a branch may have been of an earlier, imported or wider space
        names.setdefault(trial.configuration.branch, trial.baseline)
    rows = []
    for name, baseline in names.items():
        own = [trial for trial in trials if trial.configuration.branch == name]
        rates = {trial.configuration.recipe.get("learning_rate") for trial in searched(own)}
        rows.append(
            Spent(
                name=name,
                baseline=baseline,
                trials=len(searched(own)),
                rates=len(rates - {None}),
                confirming=len(fresh(own)),
                steps=sum(trial.rungs[-1].step for trial in own if trial.rungs),
                device_hours=sum(t.seconds for t in own) * spec.resources.devices / 3600,
            )
        )
    return rows
