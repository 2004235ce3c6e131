"""Objectives, constraints, and the metrics that autopeft knows.

Everything downstream of `Objective.score` is maximised: only this file knows a direction.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from autopeft.domain.errors import OutcomeError

Goal = Literal["maximize", "minimize"]
Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Metric:
    """A number that a trial has: its unit, the usual goal, and whether it is known beforehand.

    known: computed exactly from the architecture before training; else measured.
    low, high: the least and the greatest value that there can be.
    asked: what measuring it costs beside the trial itself; then it is measured only where an
        objective or a constraint asks for it. "": nothing.
    """

    name: str
    unit: str
    goal: Goal
    known: bool
    meaning: str
    low: float = 0.0
    high: float = math.inf
    asked: str = ""


def _share(name: str, meaning: str) -> Metric:
    return Metric(name, "share", "maximize", False, meaning, high=1.0)


def _correlation(name: str, meaning: str) -> Metric:
    return Metric(name, "", "maximize", False, meaning, low=-1.0, high=1.0)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _share("accuracy", "correct validation rows (or tokens)"),
        _share("f1", "macro-averaged F1; of entities for B- I- tags"),
        _share("f1_binary", "F1 of the second of two labels"),
        _share("f1_micro", "F1 over all labels of all rows together"),
        _correlation("matthews_correlation", "Matthews correlation on validation"),
        _correlation("pearson", "correlation of predictions and labels"),
        _correlation("spearmanr", "correlation of their ranks"),
        Metric("mae", "", "minimize", False, "mean absolute error"),
        Metric("eval_loss", "", "minimize", False, "the task's loss on validation, no penalties"),
        Metric(
            "perplexity", "", "minimize", False, "e to the loss of a token on validation", low=1.0
        ),
        _share("exact_match", "generated texts equal to the row's"),
        Metric("rouge1", "", "maximize", False, "ROUGE-1 F of generated texts", high=1.0),
        Metric("rougeL", "", "maximize", False, "ROUGE-L F of generated texts", high=1.0),
        _share("numeric_answer", "generated texts of the right number"),
        _share("accuracy_norm", "right by log-likelihood a byte"),
        Metric("adapter_params", "parameters", "minimize", True, "stored, without the head"),
        Metric("trainable_params", "parameters", "minimize", True, "trained, with the head"),
        Metric("adapter_bytes", "bytes", "minimize", True, "stored adapter, without the head"),
        Metric(
            "peak_memory_gib",
            "GiB",
            "minimize",
            False,
            "peak device memory; growth of the resident set on CPU",
        ),
        Metric("train_seconds", "s", "minimize", False, "training time without evaluation"),
        Metric("step_ms", "ms", "minimize", False, "median optimiser step"),
        Metric(
            "tokens_per_second",
            "tokens/s",
            "maximize",
            False,
            "of the training rows, padding apart, in a median step",
        ),
        Metric("gpu_hours", "h", "minimize", False, "train_seconds times devices (CPUs without)"),
        Metric("cost", "", "minimize", False, "gpu_hours times resources.price_per_hour"),
        Metric(
            "calibration_error",
            "share",
            "minimize",
            False,
            "expected calibration error over 15 bins of confidence, on validation",
            high=1.0,
        ),
        Metric(
            "inference_ms",
            "ms",
            "minimize",
            False,
            "median forward pass of one row, the adapter beside the model",
            asked="20 forward passes of a row",
        ),
        Metric(
            "inference_merged_ms",
            "ms",
            "minimize",
            False,
            "the same with the adapter merged; unmerged where it cannot be",
            asked="a copy of the model and 20 forward passes of a row",
        ),
        Metric(
            "forgetting",
            "nat",
            "minimize",
            False,
            "cross-entropy on data.general after training less that before",
            low=-math.inf,
            asked="a pass over data.general, and one a worker",
        ),
        Metric("servable_vllm", "", "maximize", True, "1: vLLM serves the adapter", 0, 1, "a rule"),
        Metric("servable_merged", "", "maximize", True, "1: it can be merged", 0, 1, "a rule"),
    )
}


_LARGEST = 1e100  # of a value
_LEAST = 1e-6  # of a measured value on a log scale


@dataclass(frozen=True)
class Objective:
    """A metric to optimise.

    scale: `log` compares ratios (needs values > 0).
    reference: the worst value that still counts for hypervolume; None: the worst baseline.
    unit: of a metric that the study declares itself; else METRICS has it.
    own: the study declares it itself, also where METRICS has one of that name.
    """

    metric: str
    goal: Goal
    scale: Scale = "linear"
    reference: float | None = None
    unit: str = ""
    own: bool = False

    @property
    def known(self) -> bool:
        metric = METRICS.get(self.metric)
        return metric is not None and metric.known

    @property
    def told_unit(self) -> str:
        """The unit of its metric; empty where nobody named one."""
        known = None if self.own else METRICS.get(self.metric)
        return self.unit or (known.unit if known else "")

    def score(self, metrics: Mapping[str, float]) -> float:
        """The value on the declared scale, larger is better.

        Raises:
            OutcomeError: the metric is missing, not finite or as good as that, or not positive
                on a log scale.
        """
        if self.metric not in metrics:
            raise OutcomeError(
                f"objective {self.metric} needs a value, got {', '.join(metrics) or 'none'}"
            )
        return self.transform(metrics[self.metric])

    def transform(self, value: float) -> float:
        """Put one raw value on the declared scale, larger is better."""
        if not math.isfinite(value):
            raise OutcomeError(f"objective {self.metric} needs a finite value, got {value}")
        if abs(value) > _LARGEST:  # squares and differences of larger ones are infinite
            raise OutcomeError(
                f"objective {self.metric} needs a value up to {_LARGEST:g}, got {value:g}"
            )
        if self.scale == "log":
            if value < 0:
                raise OutcomeError(f"log scale of {self.metric} needs a value > 0, got {value}")
            value = math.log(value or self.least)
        return value if self.goal == "maximize" else -value

    def deviation(self, value: float, stderr: float) -> float:
        """A raw value's standard error on the declared scale, to first order."""
        return stderr / (value or self.least) if self.scale == "log" else stderr

    @property
    def least(self) -> float:
        """What stands for 0 on a log scale: a frozen backbone has no adapter, so one parameter."""
        return 1.0 if self.known else _LEAST

    @property
    def highest(self) -> float:
        """The best score that there can be; inf where no value is the best."""
        if self.own or self.metric not in METRICS:
            return math.inf
        metric = METRICS[self.metric]
        best = metric.high if self.goal == "maximize" else metric.low
        if not math.isfinite(best) or (self.scale == "log" and best <= 0):
            return math.inf
        return self.transform(best)

    def value(self, score: float) -> float:
        """The raw value of a score: `transform` backwards."""
        value = score if self.goal == "maximize" else -score
        return math.exp(value) if self.scale == "log" else value


_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_METRIC = r"lm_eval/[\w./-]+|[A-Za-z_]\w*"
_CONSTRAINT = re.compile(
    rf"^\s*(?P<metric>{_METRIC})\s*(?P<operator><=|>=|<|>)\s*"
    r"(?:(?P<number>[-+]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    rf"|(?:(?P<factor>[-+]?\d*\.?\d+)\s*\*\s*)?baselines\.(?P<baseline>\w+)\.(?P<of>{_METRIC})"
    r"\s*(?:(?P<sign>[-+])\s*(?P<offset>\d*\.?\d+(?:[eE][-+]?\d+)?))?)\s*$"
)


_LONGEST = 500  # characters; matching takes their square

SERVED_BY = ("vllm", "merged")
"""How an architecture can be asked to be servable."""


def qualities(objectives: Sequence[Objective], estimated: Set[str]) -> tuple[Objective, ...]:
    """The objectives that are no costs: neither known nor estimated.

    estimated: the measured metrics that a formula estimates.
    """
    return tuple(o for o in objectives if not o.known and o.metric not in estimated)


def one_quality(objectives: Sequence[Objective], estimated: Set[str]) -> bool:
    """Whether one objective is a measured quality, alone or beside one known cost."""
    measured = tuple(objective for objective in objectives if not objective.known)
    return len(measured) == 1 == len(qualities(measured, estimated)) and len(objectives) <= 2


@dataclass(frozen=True)
class Constraint:
    """`metric <= bound`, where the bound is a number or follows a baseline.

    The bound is factor * baselines.NAME.METRIC + offset; without a baseline it is the offset.
    """

    text: str
    metric: str
    operator: str
    offset: float = 0.0
    factor: float = 1.0
    baseline: str | None = None
    baseline_metric: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Read `peak_memory_gib <= 8` or `accuracy >= 0.98 * baselines.house.accuracy - 0.01`.

        Raises:
            ValueError: the text is of neither form.
        """
        found = _CONSTRAINT.match(text) if len(text) <= _LONGEST else None
        if found is None:
            raise ValueError(
                "a constraint reads `metric <= number` or "
                f"`metric >= 0.98 * baselines.NAME.metric - 0.01`, got {text[:_LONGEST]!r}"
            )
        part = found.groupdict()
        for name in ("number", "factor", "offset"):
            if not math.isfinite(float(part[name] or 0)):
                raise ValueError(f"a constraint's numbers are finite, got {text!r}")
        if part["number"] is not None:
            return cls(text, part["metric"], part["operator"], float(part["number"]))
        return cls(
            text=text,
            metric=part["metric"],
            operator=part["operator"],
            offset=float((part["sign"] or "") + (part["offset"] or "0")),
            factor=float(part["factor"] or 1),
            baseline=part["baseline"],
            baseline_metric=part["of"],
        )

    @classmethod
    def servable(cls, by: str) -> "Constraint":
        """What rules out that cannot be served so; by: one of `SERVED_BY`."""
        return cls(f"servable: {by}", f"servable_{by}", ">=", 1.0)

    @property
    def known(self) -> bool:
        metric = METRICS.get(self.metric)
        return metric is not None and metric.known and self.baseline is None

    def bound(self, baselines: Mapping[str, Mapping[str, float]]) -> float | None:
        """The bound; None while the baseline that it follows has no result yet."""
        if self.baseline is None:
            return self.offset
        metrics = baselines.get(self.baseline, {})
        assert self.baseline_metric is not None
        value = metrics.get(self.baseline_metric)
        return None if value is None else self.factor * value + self.offset

    def check(self, metrics: Mapping[str, float]) -> None:
        """Raises:
        OutcomeError: its metric was measured and is not finite.
        """
        value = metrics.get(self.metric, 0.0)
        if not math.isfinite(value):
            raise OutcomeError(f"constraint {self.text} needs a finite value, got {value}")

    def holds(
        self,
        metrics: Mapping[str, float],
        baselines: Mapping[str, Mapping[str, float]] | None = None,
    ) -> bool:
        """Whether the metrics satisfy it; open bounds and missing metrics do not refuse."""
        bound, value = self.bound(baselines or {}), metrics.get(self.metric)
        if bound is None or value is None:
            return True
        return _OPERATORS[self.operator](value, bound)

    def inside(self, metrics: Mapping[str, float]) -> float:
        """Larger is farther inside, whatever the bound is; infinite where nothing was measured."""
        value = metrics.get(self.metric, math.inf)
        return -value if self.metric in metrics and self.operator in ("<=", "<") else value
