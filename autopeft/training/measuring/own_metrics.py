"""Metrics that functions of the user's compute from what a model predicts on validation rows.

A function takes one `transformers.EvalPrediction`, as a Trainer's `compute_metrics` does:

    predictions, label_ids      (n, ...) logits and labels as the Trainer gathers them, numpy
                                arrays padded with -100; of tasks that write texts two lists of
                                texts, the generated ones and the rows' own

and returns a number, (number, standard error), or a mapping of them.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from transformers import EvalPrediction

from autopeft.domain.errors import OutcomeError
from autopeft.domain.own_code import MissingError, read_metric
from autopeft.domain.study import StudySpec
from autopeft.training.loading.data import load_data
from autopeft.training.own_function import (
    OwnCodeError,
    code_state,
    find_function,
    root_of,
    their_traceback,
    told,
)
from autopeft.training.pausing import NotFiniteError
from autopeft.training.scoring.generating import reference, spread
from autopeft.training.tasks import Measures

_TRIED = 8  # validation rows that a function is tried on before there is a model
_UNLABELLED = -100


class OwnMetrics:
    """The functions of a study's `metrics:`, found; falsy where it has none.

    Raises:
        OwnCodeError: one that cannot be imported or takes other arguments.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._functions = {
            own.function: find_function(
                own.code,
                folder=spec.folder,
                key=f"metrics.{own.name}",
                takes=("eval_prediction",),
            )
            for own in spec.own_metrics.values()
        }

    def __bool__(self) -> bool:
        return bool(self._functions)

    def of(self, predictions: Any, labels: Any, *, finite: bool = True) -> Measures:
        """The metrics, and the standard errors that the functions told; each is called once.

        finite: whether a value that is not is an error; else it is left out.

        Raises:
            OwnCodeError: a function raised, or returned something else.
            NotFiniteError: a value is NaN or infinite.
        """
        metrics: dict[str, float] = {}
        errors: dict[str, float] = {}
        returned = {path: self._call(path, predictions, labels) for path in self._functions}
        for name, own in self._spec.own_metrics.items():
            try:
                value, error = read_metric(returned[own.function], own)
            except MissingError as mistake:
                raise OwnCodeError(str(mistake)) from mistake
            except OutcomeError as mistake:
                if finite:
                    raise NotFiniteError(str(mistake)) from mistake
                continue
            metrics[name] = value
            if error is not None:
                errors[name] = error
        return metrics, errors

    def __contains__(self, name: object) -> bool:
        return name in self._spec.own_metrics

    def state(self) -> dict[str, Any]:
        """Which code ran, by metric."""
        return {
            name: {
                "function": own.function,
                **code_state(self._functions[own.function], self._root(own.function)),
            }
            for name, own in self._spec.own_metrics.items()
        }

    def _root(self, function: str) -> Any:
        own = next(own for own in self._spec.own_metrics.values() if own.function == function)
        return root_of(own.code, self._spec.folder)

    def _call(self, path: str, predictions: Any, labels: Any) -> object:
        given = EvalPrediction(_copied(predictions), _copied(labels))  # one may write into it
        try:
            with redirect_stdout(sys.stderr):  # ours is data
                return self._functions[path](given)
        except (Exception, SystemExit) as error:
            names = [n for n, own in self._spec.own_metrics.items() if own.function == path]
            said = f"metric {' and '.join(names)} ({path}): {told(error, self._root(path))}"
            raise OwnCodeError(said, their_traceback(error)) from error


def predicted(trainer: Any, loader: Any) -> tuple[Any, Any]:
    """Logits and labels of a loader's rows, as the Trainer hands them to `compute_metrics`."""
    trainer.preprocess_logits_for_metrics = first
    found = trainer.evaluation_loop(loader, description="metrics", prediction_loss_only=False)
    return found.predictions, found.label_ids


def first(logits: Any, labels: Any) -> Any:
    """The logits alone, where a model returns hidden states beside them."""
    return logits[0] if isinstance(logits, tuple) else logits


def check_own_metrics(spec: StudySpec) -> None:
    """Whether the functions are there, and take and return what they should.

    They are tried on the labels of a few validation rows, with predictions drawn at random (of
    tasks that write texts: the rows' own). That a value is not finite there says nothing.

    Raises:
        OwnCodeError: what is wrong, with the traceback of the user's code where that raised.
    """
    own = OwnMetrics(spec)
    if own:
        data = load_data(spec.data, folder=spec.folder, task=spec.task)
        own.of(*_drawn(spec, data.validation, max(1, len(data.labels))), finite=False)


def _drawn(spec: StudySpec, split: Any, labels: int) -> tuple[Any, Any]:
    """Predictions and labels in the shapes that a trial has."""
    count = min(_TRIED, len(split))
    if spec.task.writes:
        texts = [reference(row) for row in spread(split, count)]
        return texts, list(texts)
    rng = np.random.default_rng(0)
    rows = split.select([int(i) for i in np.linspace(0, len(split) - 1, count)])
    if "tags" in spec.task.columns:
        longest = max(1, *(len(tags) for tags in rows["tags"]))
        truth = np.full((count, longest), _UNLABELLED)
        for row, tags in zip(truth, rows["tags"], strict=True):
            row[: len(tags)] = tags
    else:
        truth = np.array(list(rows["label"]))
    of_tags = truth.shape if "tags" in spec.task.columns else (count,)
    return rng.normal(size=(*of_tags, labels)).astype(np.float32), truth


def _copied(values: Any) -> Any:
    return list(values) if isinstance(values, Sequence) else np.array(values)


def code_of(own: OwnMetrics) -> Mapping[str, Any]:
    """What a trial's provenance tells of them."""
    return {"metrics": own.state()} if own else {}
