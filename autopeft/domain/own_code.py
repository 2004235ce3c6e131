"""Code of the user's: what trains a study's trials, and what computes a metric of them.

The first is a function `evaluate(configuration, context)` that returns its metrics, the second one
that takes a `transformers.EvalPrediction`. What they return is read here; how they are found and
called is `autopeft.training.own_code` and `own_metrics`.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from autopeft.domain.architecture import Architecture
from autopeft.domain.errors import OutcomeError
from autopeft.domain.networks.allocation import deployed
from autopeft.domain.networks.data_inits import data_init
from autopeft.domain.objective import METRICS, Metric
from autopeft.domain.space import Json

MOST = 100
"""Numbers beside the declared ones that are kept: a mapping of every weight is no metric."""
TEST = "test"
"""Under this name stands what the code measured on a test split."""


@dataclass(frozen=True)
class OwnCode:
    """The file's `evaluator:`.

    function: `package.module:name`. working_dir: where its import starts, from the space file's
    folder. options: handed to it as they are.
    """

    function: str
    working_dir: str = "."
    options: Mapping[str, Json] = field(default_factory=dict)

    @property
    def module(self) -> str:
        return self.function.partition(":")[0]

    @property
    def name(self) -> str:
        return self.function.partition(":")[2]


@dataclass(frozen=True)
class OwnMetric:
    """A metric that a function of the user's computes from what a model predicts.

    name: what objectives and constraints call it. function: `package.module:name`, imported from
    the space file's folder. key: of its value in a mapping that the function returns.
    """

    name: str
    function: str
    key: str

    @property
    def code(self) -> OwnCode:
        return OwnCode(self.function)


@dataclass(frozen=True)
class Returned:
    """What the user's code returned, read.

    metrics, stderr: name -> number. test, test_stderr: the same of a test split, where it told
    them. left_out: names of values that are no finite numbers, that autopeft knows exactly or that
    are too many; a trial's provenance tells them.
    """

    metrics: Mapping[str, float]
    stderr: Mapping[str, float]
    left_out: tuple[str, ...] = ()
    test: Mapping[str, float] = field(default_factory=dict)
    test_stderr: Mapping[str, float] = field(default_factory=dict)


class MissingError(Exception):
    """What came back is no mapping, or lacks a declared metric: a mistake of the code."""


def refuse_unreachable(architecture: Architecture) -> None:
    """Nothing, if PEFT's config says all there is to say to code that autopeft does not run.

    Raises:
        ValueError: the initialisation looks at data first, or ranks change while training.
    """
    for module in deployed(architecture):
        if module.peft_type == "ADALORA":
            raise ValueError(
                "ADALORA reallocates at every step, which only autopeft's own training calls: "
                "take LORA, or remove the evaluator"
            )
        if init := data_init(module):
            raise ValueError(
                f"init_lora_weights {init} looks at the training data first, which an evaluator "
                "keeps to itself: take another, or let autopeft train"
            )


def read_returned(
    value: object, declared: Mapping[str, Metric], known: Mapping[str, float]
) -> Returned:
    """The metrics in what the user's function returned: numbers, or (number, standard error).

    A mapping under `test` holds those of a test split; none of them has to be there.

    declared: the file's `metrics:`, which all have to be there. known: exact before training.

    Raises:
        MissingError: no mapping, or one without a declared metric.
        OutcomeError: a declared metric is not finite.
    """
    if not isinstance(value, Mapping):
        raise MissingError(
            f"an evaluator returns a mapping of metrics, got {_short(value)}: "
            f"return {{{', '.join(f'{name!r}: ...' for name in declared)}}}"
        )
    split = value[TEST] if isinstance(value.get(TEST), Mapping) else {}
    told = {str(name): entry for name, entry in value.items() if entry is not split}
    metrics, stderr, left_out = _numbers(told, declared, known)
    if missing := [name for name in declared if name not in metrics]:
        raise MissingError(
            f"metrics: declares {', '.join(missing)}, which the evaluator did not return; "
            f"it returned {', '.join(map(str, value)) or 'nothing'}"
        )
    tested = {str(name): entry for name, entry in split.items()}
    test, test_stderr, more = _numbers(tested, {}, known)
    left_out += [f"{TEST}.{name}" for name in more]
    return Returned(metrics, stderr, tuple(left_out), test, test_stderr)


def _numbers(
    told: Mapping[str, Any], declared: Collection[str], known: Collection[str]
) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Numbers, their standard errors, and the names of what is neither."""
    metrics: dict[str, float] = {}
    stderr: dict[str, float] = {}
    left_out = []
    for name, entry in told.items():
        given, error = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, None)
        found = number(given)
        if name in declared:
            metrics[name] = _declared(name, found, given)
        elif (
            found is None
            or not math.isfinite(found)
            or name in known
            or len(metrics) >= MOST + len(declared)
        ):
            left_out.append(name)
            continue
        else:
            metrics[name] = found
        spread = number(error)
        if spread is not None and math.isfinite(spread) and spread >= 0:
            stderr[name] = spread
    if len(left_out) > MOST:
        left_out = [*left_out[:MOST], f"and {len(left_out) - MOST} more"]
    return metrics, stderr, left_out


def read_metric(value: object, own: OwnMetric) -> tuple[float, float | None]:
    """The metric in what the user's function returned, and its standard error where it told one.

    value: a number, (number, standard error), or a mapping that holds one of them under `own.key`.

    Raises:
        MissingError: something else.
        OutcomeError: the number is not finite.
    """
    where = f"metric {own.name} ({own.function})"
    if isinstance(value, Mapping):
        if own.key not in value:
            raise MissingError(
                f"{where} needs {own.key!r} in the mapping that the function returns, it has "
                f"{', '.join(map(str, value)) or 'nothing'}: name one of them as key"
            )
        value = value[own.key]
    given, error = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    told, spread = number(given), number(error)
    if told is None:
        raise MissingError(f"{where} needs a number, got {_short(given)}")
    if not math.isfinite(told):
        raise OutcomeError(f"{where} needs a finite value, got {told}")
    known = spread is not None and math.isfinite(spread) and spread >= 0
    return told, spread if known else None


def computed(metric: str) -> bool:
    """Whether autopeft computes it from the modules, so that nobody else may declare it."""
    return metric in METRICS and METRICS[metric].known


def _declared(name: str, told: float | None, got: object) -> float:
    if told is None:
        raise MissingError(f"metric {name} takes a number, got {_short(got)}")
    if not math.isfinite(told):
        raise OutcomeError(f"metric {name} needs a finite value, got {told}")
    return told


def number(value: Any) -> float | None:
    """A Python, NumPy or one-element torch number; None: something else."""
    if isinstance(value, bool | str | bytes):
        return None
    try:
        return float(value if isinstance(value, Real) else value.item())
    except (AttributeError, OverflowError, TypeError, ValueError, RuntimeError):
        return None


def _short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
