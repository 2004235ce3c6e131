"""The engine without one of the facts that it knows, as samplers of their own.

    python benchmarks/search/compare.py run --samplers autopeft "autopeft without order" ...

| without | what is switched off |
|---|---|
| `costs` | the cost is a second measurement: a process of its own instead of the formula |
| `exact costs` | it is measured, and a formula says it up to a factor, as of time or memory |
| `vanishing` | the surrogate's pull towards one score as the adapter vanishes |
| `window` | the learning rate's: the prior of its ends and of its length scale, the design's middle half |
| `order` | depth, parameters and capacity by layer as one family: every layer is a bit of its own |
| `noise` | standard errors are not told |
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import exp
from random import Random
from typing import Any
from unittest import mock

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Problem, Sampler, Suggestion
from autopeft.domain.trial import Trial
from autopeft.search.candidates import initial
from autopeft.search.model import encoding, fitting, memory

PREFIX = "autopeft without "
_COST = "a_cost"  # a metric that no formula knows
_ESTIMATED = "peak_memory_gib"
_FACTOR, _NOISE = 3.0, 0.03  # of the measured over the estimate: level, deviation of the logarithm


@dataclass(frozen=True)
class Without:
    """The sampler where a fact is hidden from it, or switched off while it thinks."""

    sampler: Sampler
    hide: Callable[[Problem, Sequence[Trial]], tuple[Problem, Sequence[Trial]]]
    off: Callable[[], AbstractContextManager[Any]]

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        with self.off():
            return self.sampler.suggest(*self.hide(problem, history), seed=seed)


def without(fact: str, sampler: Sampler) -> Sampler:
    """The `autopeft` sampler without a fact.

    Raises:
        AutopeftError: there is no such fact.
    """
    if fact in ("costs", "exact costs"):
        hide = partial(_measured_costs, estimated=fact == "exact costs")
        return Without(sampler, hide, ExitStack)
    if fact == "noise":
        return Without(sampler, _no_errors, ExitStack)
    if fact in _PATCHES:
        return Without(sampler, lambda *told: told, partial(_patched, _PATCHES[fact]))
    facts = ", ".join(("costs", "exact costs", "noise", *_PATCHES))
    raise AutopeftError(f"an ablation is one of {facts}, got {fact!r}: correct it")


def _measured_costs(
    problem: Problem, history: Sequence[Trial], *, estimated: bool
) -> tuple[Problem, Sequence[Trial]]:
    """estimated: under the name of a cost that has an estimate, with this factor and noise."""
    (cost,) = (objective for objective in problem.objectives if objective.known)
    name = _ESTIMATED if estimated else _COST
    objectives = tuple(replace(o, metric=name) if o is cost else o for o in problem.objectives)
    told = []
    for trial in history:
        value = trial.known[cost.metric]
        if estimated:
            value *= _FACTOR * exp(_NOISE * Random(trial.number).gauss())
        rungs = tuple(replace(r, metrics={**r.metrics, name: value}) for r in trial.rungs)
        told.append(replace(trial, rungs=rungs))

    def estimates(configuration: Configuration) -> Mapping[str, float]:
        return {name: problem.known(configuration.architecture)[cost.metric]}

    if estimated:
        problem = replace(problem, estimates=estimates)
    return replace(problem, objectives=objectives), told


def _no_errors(problem: Problem, history: Sequence[Trial]) -> tuple[Problem, Sequence[Trial]]:
    return problem, [
        replace(trial, rungs=tuple(replace(rung, stderr={}) for rung in trial.rungs))
        for trial in history
    ]


def _unordered(*arguments: Any) -> dict[str, float]:
    """The features without what tells of depth and size; a layer is in use or not."""
    row = _features(*arguments)
    return {
        name: float(value > 0) if name.startswith("layer:") else value
        for name, value in row.items()
        if not name.startswith(("depth:", "cost:"))
    }


_features = encoding.features
_PATCHES: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "vanishing": ((fitting, "_VANISHING", ()),),
    "window": (
        (memory, "edge", lambda *_: 0.0),
        (encoding, "_SHARP", ()),
        (initial, "_MIDDLE", 1.0),
    ),
    "order": ((encoding, "features", _unordered), (encoding, "_TIED", ())),
}


@contextmanager
def _patched(patches: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for target, name, value in patches:
            stack.enter_context(mock.patch.object(target, name, value))
        yield
