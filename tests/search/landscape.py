"""A made-up landscape over a real space, for tests of samplers: three methods on six layers.

Accuracy has a learning-rate window for each method, saturates with size, and depends on which
layers are on; parameters are counted exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from fakes import bert_shape

from autopeft.domain.architecture import Configuration, canonical
from autopeft.domain.expression import Expr
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.pareto import hypervolume
from autopeft.domain.ports import Problem, Sampler
from autopeft.domain.space import Bits, Branch, Choice, Range, Space
from autopeft.domain.trial import Failure, FailureReason, Rung, Trial

LORA = Branch(
    "lora",
    {
        "modules": [
            {
                "peft_type": "LORA",
                "r": Choice((1, 2, 4, 8, 16, 32)),
                "lora_alpha": Expr("2 * r"),
                "target_modules": Choice((["query", "value"], "all-linear", ["query"])),
            }
        ],
        "layers": {"bits": Bits(6)},
        "training": {"learning_rate": Range(1e-5, 1e-2, log=True)},
    },
)
IA3 = Branch(
    "ia3",
    {
        "modules": [
            {
                "peft_type": "IA3",
                "target_modules": ["key", "value", "intermediate.dense"],
                "feedforward_modules": ["intermediate.dense"],
            }
        ],
        "layers": {"last": Choice((1, 2, 3, 6))},
        "training": {"learning_rate": Range(1e-4, 1e-1, log=True)},
    },
)
PREFIX = Branch(
    "prefix",
    {
        "modules": [{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": Choice((2, 4, 8, 16))}],
        "training": {"learning_rate": Range(1e-4, 1e-1, log=True)},
    },
)
HOUSE = Branch(
    "house",
    {
        "modules": [{"peft_type": "LORA", "r": 8, "target_modules": "all-linear"}],
        "training": {"learning_rate": Range(1e-5, 1e-2, log=True)},
    },
    baseline=True,
)
SPACE = Space((LORA, IA3, PREFIX, HOUSE))
ACCURACY = Objective("accuracy", "maximize")
PARAMETERS = Objective("adapter_params", "minimize", scale="log")
SECONDS = Objective("train_seconds", "minimize", scale="log")
MEMORY = Objective("peak_memory_gib", "minimize")

_IMPORTANCE = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.28])
_BEST_RATE = {"LORA": -3.2, "IA3": -2.2, "PREFIX_TUNING": -2.0}


def make_problem(
    space: Space = SPACE,
    objectives: Sequence[Objective] = (ACCURACY, PARAMETERS),
    constraints: Sequence[str] = (),
    layers: int = 6,
) -> Problem:
    """A problem whose searched branches are offered, as the session offers them."""
    shape = bert_shape(layers)
    whole = space

    def configure(point):
        return canonical(
            whole.realise(point),
            branch=point["branch"],
            shape=shape,
            training={"num_train_epochs": 3},
            defaults=PEFT_DEFAULTS,
        )

    return Problem(
        space=Space(space.searched),
        objectives=tuple(objectives),
        constraints=tuple(Constraint.parse(text) for text in constraints),
        shape=shape,
        configure=configure,
        known=partial(known_metrics, shape=shape),
    )


def accuracy(configuration: Configuration) -> float:
    (module,) = configuration.architecture.modules
    rate = np.log10(configuration.recipe["learning_rate"])
    size = {
        "LORA": 1 - 0.5 * np.exp(-(module.size or 8) / 6),
        "IA3": 0.6,
        "PREFIX_TUNING": 0.35 + 0.02 * (module.size or 0),
    }[module.peft_type]
    layers = sum(_IMPORTANCE[layer % 6] for layer in module.layers) ** 0.5
    kinds = min(1.0, 0.75 + 0.05 * len(module.targets) / max(1, len(module.layers)))
    window = np.exp(-0.8 * (rate - _BEST_RATE[module.peft_type]) ** 2)
    return float(0.55 + 0.35 * layers * size * kinds * window)


def measured(configuration: Configuration, noise: float = 0.0) -> Mapping[str, float]:
    return {
        "accuracy": accuracy(configuration) + noise,
        "train_seconds": 10.0 + sum(len(m.layers) for m in configuration.architecture.modules),
        "peak_memory_gib": 1.0 + 0.1 * len(configuration.architecture.modules[0].layers),
    }


def with_estimates(problem: Problem) -> Problem:
    """Where a formula says what costs will be, a third of it."""

    def estimates(configuration: Configuration) -> Mapping[str, float]:
        costs = ("train_seconds", "peak_memory_gib")
        return {name: measured(configuration)[name] / 3 for name in costs}

    return replace(problem, estimates=estimates)


def started(problem: Problem, number: int, point: Mapping, *, baseline: bool = False) -> Trial:
    configuration = problem.configure(point)
    known = problem.known(configuration.architecture)
    return Trial(number, configuration, 0, point, known, baseline=baseline)


def told(trial: Trial, *, noise: float = 0.0, share: float = 1.0) -> Trial:
    """The trial after a rung at this share of training, its end at 1."""
    metrics = dict(measured(trial.configuration, noise))
    metrics["accuracy"] = 0.5 + (metrics["accuracy"] - 0.5) * share**0.5
    rung = Rung(0, round(100 * share), metrics, {"accuracy": 0.005})
    return trial.advanced(rung, last=share == 1.0)


def failed(trial: Trial, reason: FailureReason = FailureReason.OUT_OF_MEMORY) -> Trial:
    return trial.failed(Failure(reason, "it did not work"))


def random_trials(problem: Problem, count: int, seed: int = 0) -> list[Trial]:
    """Started trials at different random points of the problem."""
    rng = np.random.default_rng(seed)
    trials: dict[str, Trial] = {}
    while len(trials) < count:
        point = problem.space.draw(rng)
        if (configuration := problem.admissible(point)) is not None:
            trials.setdefault(configuration.key, started(problem, len(trials), point))
    return [replace(trial, number=i) for i, trial in enumerate(trials.values())]


def baseline_trial(problem: Problem, number: int, rate: float = 5e-4) -> Trial:
    point = {"branch": "house", "training.learning_rate": rate}
    return told(started(problem, number, point, baseline=True))


def search(sampler: Sampler, problem: Problem, *, trials: int, seed: int) -> list[Trial]:
    """A whole search, one trial after another, baseline first."""
    rng = np.random.default_rng(seed)
    history = [baseline_trial(problem, 0)]
    while len(history) < trials:
        suggestion = sampler.suggest(problem, history, seed=1000 * seed + len(history))
        trial = replace(
            started(problem, len(history), suggestion.point),
            why=suggestion.why,
            expected_gain=suggestion.gain,
            expected_left=suggestion.left,
        )
        history.append(told(trial, noise=0.005 * rng.normal()))
    return history


def true_hypervolume(history: Sequence[Trial]) -> float:
    """Of the noise-free accuracy and log parameters, against one fixed reference."""
    rows = [[accuracy(t.configuration), -np.log(t.known["adapter_params"])] for t in history]
    return hypervolume(np.array(rows), np.array([0.55, -np.log(2.3e5)]))
