"""General tools as samplers: Ax, SMAC3 and Syne Tune, none of which autopeft needs.

    pip install -r benchmarks/rivals.txt -c <(sed 's/ --hash.*//' requirements.lock)  # and the README says what else

They know nothing of exact costs, so a cost is an ordinary objective to them, on its declared scale.
A tool is asked and told, and remembers: one instance serves one search. What it proposes and the
model refuses is told as a failure; what was evaluated already is told what it gave, and it is asked
again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Protocol

from flat import Flat, FlatSpace

from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.trial import State, Trial
from autopeft.search.points.drawing import evaluated, fits
from autopeft.search.random_sampler import RandomSampler

_ASKS = 5  # before a random draw takes over; some take seconds each
Values = Mapping[str, Any]
Scores = Sequence[float]


class Tool(Protocol):
    """A tool that maximises so many scores over flat parameters."""

    def ask(self) -> tuple[Any, Values]:
        """Its handle of a trial, and the values of all active parameters."""

    def tell(self, handle: Any, values: Values, scores: Scores | None) -> None:
        """handle: what `ask` gave; None: a trial that it did not ask for. scores: None: failed."""


Make = Callable[[Sequence[Flat], int, int, int], Tool]
"""(parameters, number of objectives, trials of the search, seed) -> a tool."""

_TOOLS = {
    "ax.default": ("rival_ax", "Default", "ax", "ax-platform"),
    "smac.ParEGO": ("rival_smac", "ParEGO", "smac", "smac"),
    "syne_tune.EHVI": ("rival_syne_tune", "EHVI", "syne_tune", "syne-tune"),
    "syne_tune.MOREA": ("rival_syne_tune", "MOREA", "syne_tune", "syne-tune"),
}
NAMES = tuple(_TOOLS)


@dataclass
class Rival:
    """A tool behind `ports.Sampler`, but for purity: it remembers what it was told.

    trials: of the search, for tools that divide them. shared: see `flat.FlatSpace`.
    """

    name: str
    make: Make
    trials: int
    shared: bool = False
    _serving: tuple[FlatSpace, Tool] | None = None
    _told: set[int] = field(default_factory=set)  # numbers of trials
    _asked: dict[str, Any] = field(default_factory=dict)  # handles, by configuration

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        if self._serving is None:
            space = FlatSpace(problem.space, shared=self.shared)
            objectives = len(problem.objectives)
            self._serving = space, self.make(space.parameters, objectives, self.trials, seed)
        space, tool = self._serving
        self._tell(tool, space, problem, history)
        taken = evaluated(history)
        for _ in range(_ASKS):
            handle, values = tool.ask()
            point = space.point(values)
            configuration = problem.admissible(point)
            if configuration is not None and configuration.key not in taken:
                self._asked[configuration.key] = handle
                return Suggestion(point, self.name)
            known = _known(problem, history, None if configuration is None else configuration.key)
            tool.tell(handle, space.values(point), known)
        found = RandomSampler().suggest(problem, history, seed=seed)
        return replace(found, why=f"{found.why} ({self.name} found nothing new)")

    def _tell(
        self, tool: Tool, space: FlatSpace, problem: Problem, history: Sequence[Trial]
    ) -> None:
        for trial in history:
            ended = trial.state in (State.COMPLETED, State.FAILED)
            if ended and trial.number not in self._told and fits(problem, trial.point):
                handle = self._asked.pop(trial.configuration.key, None)
                tool.tell(handle, space.values(trial.point), _scores(problem, trial))
                self._told.add(trial.number)


def make(name: str, trials: int) -> Rival:
    """The sampler of a name.

    Raises:
        AutopeftError: no such tool, or it is not installed.
    """
    if name not in _TOOLS:
        raise AutopeftError(f"a tool is one of {', '.join(NAMES)}, got {name!r}: correct it")
    module, tool, needs, package = _TOOLS[name]
    try:
        import_module(needs)
    except ModuleNotFoundError as error:
        raise AutopeftError(
            f"sampler {name} needs {package}, which is not installed: benchmarks/README.md says how"
        ) from error
    return Rival(name, getattr(import_module(module), tool), trials)


def _known(problem: Problem, history: Sequence[Trial], key: str | None) -> Scores | None:
    """What a configuration gave; None where it failed, runs still, or is none."""
    for trial in history:
        if trial.configuration.key == key and trial.state is State.COMPLETED:
            return _scores(problem, trial)
    return None


def _scores(problem: Problem, trial: Trial) -> Scores | None:
    if trial.state is not State.COMPLETED:
        return None
    return [objective.score(trial.metrics) for objective in problem.objectives]
