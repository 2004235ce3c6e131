"""Metrics that need validation rows as texts: generated ones, and choices by likelihood."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.generation import CHOSEN, GENERATED
from autopeft.domain.study import StudySpec
from autopeft.training.loading.data import Data
from autopeft.training.scoring.choosing import choice_metrics
from autopeft.training.scoring.generating import check_generated, generation_metrics
from autopeft.training.tasks.task import Measures


def chooses(spec: StudySpec) -> bool:
    """Whether accuracies of the study are those of a choice among texts."""
    return "accuracy_norm" in spec.task.metrics and bool(spec.asked & set(CHOSEN))


def check_judged(spec: StudySpec, data: Data) -> None:
    """Whether all that the study asks for can be measured on its validation rows.

    Raises:
        AutopeftError: what is missing.
    """
    rows, labels = data.validation, data.labels
    if "f1_binary" in spec.asked & set(spec.task.metrics) and len(labels) != 2:
        raise AutopeftError(
            f"f1_binary is that of the second of two labels, data.train has {len(labels)}: "
            "take f1, the mean over all labels"
        )
    if chooses(spec) and "choices" not in rows[0]:
        raise AutopeftError(
            f"{' and '.join(sorted(spec.asked & set(CHOSEN)))} of a language model need validation "
            f"rows with prompt, choices and answer, got {', '.join(rows[0])}: name them under "
            "data.columns"
        )
    own = bool(spec.own_metrics) and spec.task.writes
    check_generated(rows, spec.asked & set(spec.task.metrics), spec.generation, own=own)


def judge(
    spec: StudySpec,
    model: Any,
    processor: Any,
    rows: Sequence[Any],
    *,
    batch_size: int,
    precision: AbstractContextManager[Any],
    own: Callable[[Any, Any], Measures] | None = None,
) -> Measures:
    """The asked metrics that no loader's batches give, with standard errors.

    rows: the validation split before it was tokenized; precision: what the trainer evaluates in.
    own: metrics of the user's of (generated texts, the rows' own), where the study has any.
    """
    metrics: dict[str, float] = {}
    errors: dict[str, float] = {}
    with precision:
        if chooses(spec) and "choices" in rows[0]:
            metrics, errors = choice_metrics(model, processor, rows, batch_size=batch_size)
        wanted = spec.asked & set(GENERATED) & set(spec.task.metrics)
        if wanted or (own and spec.task.writes):
            more = generation_metrics(
                model,
                processor,
                rows,
                wanted,
                spec.generation,
                batch_size=batch_size,
                longest=spec.data.get("max_length", spec.task.max_length),
                own=own,
            )
            metrics, errors = metrics | more[0], errors | more[1]
    return metrics, errors
