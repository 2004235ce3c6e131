"""Tasks of the lm-evaluation-harness (Gao et al., package lm_eval) as metrics of a study.

`lm_eval/TASK/METRIC`, as lm_eval/arc_easy/acc_norm, is what the harness calls METRIC of TASK; where
a task filters its answers in several ways, `lm_eval/TASK/METRIC/FILTER`.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from autopeft.domain.objective import Metric

_NAME = re.compile(r"lm_eval/(?P<task>[\w.-]+)/(?P<metric>\w+)(?:/(?P<filter>[\w.-]+))?")
_MINIMISED = frozenset(
    ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "ter")
)
"""Of the harness's metrics those that are better when they are smaller."""


@dataclass(frozen=True)
class Harness:
    """What a study asks of the harness.

    tasks: names of its tasks, groups and tags. limit: rows of each task; None: all.
    num_fewshot: examples before a row; None: as each task says.
    include_path: a folder with tasks of one's own. batch_size: None: that of evaluation.
    """

    tasks: tuple[str, ...]
    limit: int | None = None
    num_fewshot: int | None = None
    include_path: str | None = None
    batch_size: int | None = None
    apply_chat_template: bool = False


def is_of_harness(name: str) -> bool:
    """Whether a metric's name is one of the harness."""
    return _NAME.fullmatch(name) is not None


def harness_key(name: str) -> tuple[str, str]:
    """The task, and what the harness calls the metric in its results."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"a metric of the harness is lm_eval/TASK/METRIC, got {name!r}")
    return found["task"], f"{found['metric']},{found['filter'] or 'none'}"


def of_harness(names: Iterable[str]) -> list[str]:
    """Those of the metrics that the harness measures, sorted."""
    return sorted(name for name in names if is_of_harness(name))


def harness_metric(name: str) -> Metric:
    """A metric of the harness as one of the study."""
    task, key = harness_key(name)
    metric = key.partition(",")[0]
    goal: Literal["maximize", "minimize"] = "minimize" if metric in _MINIMISED else "maximize"
    said = f"{metric} of the lm_eval task {task}"
    cost = "the task's rows, at every rung"
    return Metric(name, "", goal, False, said, low=-math.inf, asked=cost)
