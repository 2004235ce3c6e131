"""Ax as it comes: its client chooses the strategy (a centre, Sobol points, then BoTorch).

The space is Ax's hierarchical one where there are several branches: a parameter hangs on the value
that makes it exist. Ax's is a tree: what several values make exist is always there.
"""

import logging
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from ax.utils.common.logger import set_ax_logger_levels
from flat import Flat, lowest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from rivals import Scores, Values


class Default:
    """See `rivals.Tool`."""

    def __init__(self, parameters: Sequence[Flat], objectives: int, trials: int, seed: int) -> None:
        set_ax_logger_levels(logging.ERROR)
        self._names = [parameter.name for parameter in parameters]
        self._always = {p.name: lowest(p.distribution) for p in parameters if not _hangs(p)}
        self._scores = [f"score_{i}" for i in range(objectives)]
        self._client = Client(random_seed=seed % 2**31)
        self._client.configure_experiment(_parameters(parameters))
        self._client.configure_optimization(", ".join(self._scores))

    def ask(self) -> tuple[int, Values]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ((index, values),) = self._client.get_next_trials(max_trials=1).items()
        return index, {self._names[int(key[1:])]: value for key, value in values.items()}

    def tell(self, handle: Any, values: Values, scores: Scores | None) -> None:
        if handle is None:
            whole = {**self._always, **values}
            given = {f"p{i}": whole[name] for i, name in enumerate(self._names) if name in whole}
            handle = self._client.attach_trial(given)
        if scores is None:
            self._client.mark_trial_failed(handle)
        else:
            self._client.complete_trial(handle, dict(zip(self._scores, scores, strict=True)))


def _parameters(parameters: Sequence[Flat]) -> list[Any]:
    number = {parameter.name: f"p{i}" for i, parameter in enumerate(parameters)}
    hanging: dict[str, dict[Any, list[str]]] = defaultdict(dict)
    for parameter in parameters:
        if _hangs(parameter):  # on the last one, which itself hangs on those before it
            name, (value,) = parameter.given[-1]
            hanging[name].setdefault(value, []).append(number[parameter.name])
    return [_parameter(number[p.name], p, hanging.get(p.name)) for p in parameters]


def _hangs(parameter: Flat) -> bool:
    """Whether one value of one parameter decides, at the end, whether it exists."""
    return len(parameter.given) > 0 and len(parameter.given[-1][1]) == 1


def _parameter(name: str, parameter: Flat, hanging: dict[Any, list[str]] | None) -> Any:
    match parameter.distribution:
        case FloatDistribution(low=low, high=high, log=log):
            scaling = "log" if log else "linear"
            return RangeParameterConfig(name, (low, high), "float", scaling=scaling)
        case IntDistribution(low=low, high=high, log=log):
            scaling = "log" if log else "linear"
            return RangeParameterConfig(name, (low, high), "int", scaling=scaling)
        case CategoricalDistribution(choices=choices):
            kind = "str" if isinstance(choices[0], str) else "int"
            return ChoiceParameterConfig(
                name, list(choices), kind, is_ordered=False, dependent_parameters=hanging
            )
        case other:
            raise TypeError(f"no other distribution is made, got {other!r}")
