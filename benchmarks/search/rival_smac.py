"""SMAC3's ParEGO: random forest, log EI of a random scalarisation, over a conditional space.

Its facade for hyperparameters, with what its documentation names for few trials: the forest is
fitted anew for every suggestion (SMAC's default is every eighth). What fails is told the worst that
was seen, for an infinite cost would spoil the scaling of the others.
"""

import logging
import warnings
from collections.abc import Iterable, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import ConfigSpace as cs
from flat import Flat
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from rivals import Scores, Values
from smac import HyperparameterOptimizationFacade, Scenario
from smac.model.random_forest import RandomForest
from smac.multi_objective.parego import ParEGO as Scalarised
from smac.runhistory.dataclasses import TrialInfo, TrialValue

_LEAVES = 2**12  # more than there are trials: the trees are the same


class ParEGO:
    """See `rivals.Tool`."""

    def __init__(self, parameters: Sequence[Flat], objectives: int, trials: int, seed: int) -> None:
        logging.getLogger("smac").setLevel(logging.ERROR)
        self._names = [parameter.name for parameter in parameters]
        self._folder = TemporaryDirectory(prefix="smac_")  # it insists on writing somewhere
        self._seed = seed % 2**31
        scenario = Scenario(
            _space(parameters, self._seed),
            output_directory=self._folder.name,
            deterministic=True,
            objectives=[f"cost_{i}" for i in range(objectives)],
            n_trials=trials,
            seed=self._seed,
        )
        facade = HyperparameterOptimizationFacade
        self._smac = facade(
            scenario,
            lambda config, seed=0: None,
            model=_forest(scenario),
            multi_objective_algorithm=Scalarised(scenario),
            config_selector=facade.get_config_selector(scenario, retrain_after=1),
            logging_level=False,
            overwrite=True,
        )
        self._space = scenario.configspace
        self._worst = [0.0] * objectives

    def ask(self) -> tuple[TrialInfo, Values]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it logs the mean of no local searches
            info = self._smac.ask()
        return info, {self._names[int(key[1:])]: _plain(v) for key, v in info.config.items()}

    def tell(self, handle: Any, values: Values, scores: Scores | None) -> None:
        costs = self._worst if scores is None else [-score for score in scores]
        self._worst = [max(pair) for pair in zip(self._worst, costs, strict=True)]
        info = handle or TrialInfo(self._configuration(values), seed=self._smac_seed())
        self._smac.tell(info, TrialValue(cost=list(costs)), save=False)

    def _configuration(self, values: Values) -> cs.Configuration:
        given = {f"p{i}": values[name] for i, name in enumerate(self._names) if name in values}
        return cs.Configuration(self._space, values=given)

    def _smac_seed(self) -> int:
        """Under which it keeps what is deterministic."""
        return next((key.seed for key in self._smac.runhistory), 0)


def _forest(scenario: Scenario) -> RandomForest:
    """The facade's own on one core, without room for 2**20 leaves, which takes .2 s a tree."""
    return RandomForest(
        scenario.configspace,
        log_y=True,
        n_trees=10,
        ratio_features=1.0,
        min_samples_split=2,
        min_samples_leaf=1,
        max_leaf_nodes=_LEAVES,
        seed=scenario.seed,
        n_jobs=1,
    )


def _space(parameters: Sequence[Flat], seed: int) -> cs.ConfigurationSpace:
    space = cs.ConfigurationSpace(seed=seed)
    made: dict[str, Any] = {}
    for i, parameter in enumerate(parameters):
        made[parameter.name] = _hyperparameter(f"p{i}", parameter)
    space.add(*made.values())
    space.add(*_conditions(parameters, made))
    return space


def _hyperparameter(name: str, parameter: Flat) -> Any:
    match parameter.distribution:
        case FloatDistribution(low=low, high=high, log=log):
            return cs.Float(name, (low, high), log=log)
        case IntDistribution(low=low, high=high, log=log):
            return cs.Integer(name, (low, high), log=log)
        case CategoricalDistribution(choices=choices):
            return cs.Categorical(name, list(choices))
        case other:
            raise TypeError(f"no other distribution is made, got {other!r}")


def _conditions(parameters: Sequence[Flat], made: dict[str, Any]) -> Iterable[Any]:
    for parameter in parameters:
        needed = [
            cs.InCondition(made[parameter.name], made[name], list(values))
            for name, values in parameter.given
        ]
        if len(needed) > 1:
            yield cs.AndConjunction(*needed)
        else:
            yield from needed


def _plain(value: Any) -> Any:
    """A number or word of Python's own, not NumPy's."""
    return value.item() if hasattr(value, "item") else value
