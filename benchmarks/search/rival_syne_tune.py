"""Syne Tune's two searchers for several objectives: expected hypervolume gain, and evolution.

It has no conditional spaces, so every parameter always has a value, and those that are not active
change nothing. Its EHVI measures from a reference point that is fixed at 2 of every maximised
score, whatever their scale: scores are mapped to [2, 3], their range so far, anew for every
suggestion, or nothing would ever gain. Its evolution draws at random until its population is full,
which is 100 by default: 16 here, as for NSGA-II, with parents the best of 4.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from flat import Flat, lowest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from rivals import Scores, Values
from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform
from syne_tune.optimizer.schedulers.multiobjective import MultiObjectiveRegularizedEvolution
from syne_tune.optimizer.schedulers.multiobjective.expected_hyper_volume_improvement import (
    ExpectedHyperVolumeImprovement,
)

from autopeft.search.botorch.torch_state import deterministic

_POPULATION, _SAMPLE = 16, 4
_REFERENCE = 2.0  # EHVI's own


class MOREA:
    """See `rivals.Tool`."""

    def __init__(self, parameters: Sequence[Flat], objectives: int, trials: int, seed: int) -> None:
        self._space = _Space(parameters)
        self._seeds = np.random.default_rng(seed)
        self._searcher = MultiObjectiveRegularizedEvolution(
            self._space.space,
            population_size=_POPULATION,
            sample_size=_SAMPLE,
            random_seed=seed % 2**31,
        )
        self._told = 0

    def ask(self) -> tuple[Any, Values]:
        with deterministic(int(self._seeds.integers(2**31))):  # as below
            config = self._searcher.suggest()
        return config, self._space.named(config)

    def tell(self, handle: Any, values: Values, scores: Scores | None) -> None:
        if scores is not None:
            config = handle or self._space.whole(values)
            self._searcher.on_trial_complete(self._told, config, [-score for score in scores])
            self._told += 1


class EHVI:
    """See `rivals.Tool`."""

    def __init__(self, parameters: Sequence[Flat], objectives: int, trials: int, seed: int) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        self._space = _Space(parameters)
        self._seeds = np.random.default_rng(seed)
        self._results: list[tuple[Any, Scores]] = []
        self._running: dict[int, Any] = {}

    def ask(self) -> tuple[Any, Values]:
        seed = int(self._seeds.integers(2**31))
        searcher = ExpectedHyperVolumeImprovement(self._space.space, random_seed=seed)
        if self._results:
            Y = np.array([scores for _, scores in self._results])
            low, width = Y.min(0), np.ptp(Y, axis=0)
            costs = -(_REFERENCE + (Y - low) / np.where(width > 0, width, 1.0))
            for number, ((config, _), cost) in enumerate(zip(self._results, costs, strict=True)):
                searcher.trial_configs[number] = config
                searcher.on_trial_complete(number, config, cost.tolist())
        for number, config in enumerate(self._running.values(), start=len(self._results)):
            searcher.trial_configs[number] = config
            searcher.register_pending(str(number))
        with deterministic(seed):  # it draws from numpy's state too, whatever its own seed
            config = _in_double(searcher.suggest)
        self._running[id(config)] = config
        return config, self._space.named(config)

    def tell(self, handle: Any, values: Values, scores: Scores | None) -> None:
        self._running.pop(id(handle), None)
        if scores is not None:
            self._results.append((handle or self._space.whole(values), scores))


def _in_double(call: Callable[[], Any]) -> Any:
    """It makes some of its tensors in the default precision, which then has to be the models'."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    finally:
        torch.set_default_dtype(before)


class _Space:
    """space: Syne Tune's, by plain names."""

    def __init__(self, parameters: Sequence[Flat]) -> None:
        self._parameters = parameters
        self.space = {f"p{i}": _domain(parameter) for i, parameter in enumerate(parameters)}

    def named(self, config: Values) -> Values:
        return {p.name: config[f"p{i}"] for i, p in enumerate(self._parameters)}

    def whole(self, values: Values) -> dict[str, Any]:
        """Values of which some are not active, completed by the first or lowest value."""
        return {
            f"p{i}": values.get(p.name, lowest(p.distribution))
            for i, p in enumerate(self._parameters)
        }


def _domain(parameter: Flat) -> Any:
    match parameter.distribution:
        case FloatDistribution(low=low, high=high, log=log):
            return loguniform(low, high) if log else uniform(low, high)
        case IntDistribution(low=low, high=high, log=log):
            return lograndint(low, high) if log else randint(low, high)
        case CategoricalDistribution(choices=choices):
            return choice(list(choices))
        case other:
            raise TypeError(f"no other distribution is made, got {other!r}")
