"""From a source of any kind to results, and what is to be said of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autopeft.domain.errors import AutopeftError
from autopeft.domain.objective import Objective
from autopeft.importing import suite
from autopeft.importing.found import Found, Wanted
from autopeft.importing.table import found_in, read_csv

_KINDS = ("peft-suite", "optuna", "csv")


@dataclass(frozen=True)
class Source:
    """What a source held.

    name: what the study says it is from. left_out: why results are missing, one by one.
    notes: what was taken, in sentences. model: as the source names it; None: it does not.
    """

    kind: str
    name: str
    results: Sequence[Found]
    objectives: Sequence[Objective]
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()
    model: str | None = None


class ForeignTrials(Protocol):
    """The completed trials of another optimiser's study."""

    @property
    def study(self) -> str: ...
    @property
    def directions(self) -> tuple[str, ...]: ...
    @property
    def rows(self) -> tuple[tuple[str, Mapping[str, Any], tuple[float, ...]], ...]: ...
    @property
    def left_out(self) -> int: ...


def read_source(
    kind: str, source: str, metrics: Sequence[str], optuna: Callable[[str], ForeignTrials]
) -> Source:
    """
    metrics: as `--metric` takes them. optuna: reads the trials of a storage.

    Raises:
        AutopeftError: no such kind; the source is not there, of another layout, or lacks a metric.
    """
    if kind not in _KINDS:
        raise AutopeftError(f"--from takes {', '.join(_KINDS)}, got {kind!r}")
    if kind == "peft-suite":
        return _suite(source, metrics)
    if kind == "optuna":
        return _optuna(source, metrics, optuna(source))
    wanted = [Wanted.parse(text) for text in metrics]
    _refuse_twice(wanted)
    if not wanted:
        raise AutopeftError(
            "a CSV needs --metric for each objective, got none: --metric accuracy=test_accuracy "
            "--metric adapter_params"
        )
    results, left_out = read_csv(Path(source), wanted)
    return Source("csv", source, results, [w.objective for w in wanted], left_out)


def _suite(source: str, metrics: Sequence[str]) -> Source:
    if metrics:
        raise AutopeftError(
            f"the comparison suite has metrics of its own (accuracy, adapter_bytes), got --metric "
            f"{metrics[0]}: leave it out"
        )
    batch = suite.read_suite(Path(source))
    notes = [f"{len(batch.runs)} runs of {batch.name}"]
    if batch.left_out:
        notes.append(f"{batch.left_out} runs of other batches or without a result are left out")
    return Source(
        "peft-suite",
        source,
        suite.found_of(batch),
        [wanted.objective for wanted in suite.WANTED],
        notes=notes,
        model=suite.model_of(batch),
    )


def _refuse_twice(wanted: Sequence[Wanted]) -> None:
    """
    Raises:
        AutopeftError: two of them have one name.
    """
    names = [w.name for w in wanted]
    if twice := [w for w in wanted if names.count(w.name) > 1]:
        columns = " and ".join(w.column for w in twice)
        raise AutopeftError(
            f"--metric {twice[0].name} is one metric, got it from {columns}: leave one out"
        )


def _optuna(source: str, metrics: Sequence[str], trials: ForeignTrials) -> Source:
    if len(metrics) != len(trials.directions):
        goals = ", ".join(trials.directions)
        raise AutopeftError(
            f"Optuna study {trials.study} has {len(trials.directions)} values ({goals}), got "
            f"{len(metrics)} names: give --metric once for each, in their order"
        )
    wanted = []
    for text, goal in zip(metrics, trials.directions, strict=True):
        told = Wanted.parse(text if ":" in text else f"{text}:{goal}")
        if told.goal != goal:
            raise AutopeftError(f"Optuna study {trials.study} {goal}s {told.name}, got {told.goal}")
        wanted.append(Wanted(told.name, f"value of {told.name}", told.goal))
    _refuse_twice(wanted)
    rows = [
        (name, {**params, **dict(zip([w.column for w in wanted], values, strict=True))})
        for name, params, values in trials.rows
    ]
    results, left_out = found_in(rows, wanted)
    notes = [f"{len(rows)} completed trials of Optuna study {trials.study}"]
    if trials.left_out:
        notes.append(f"{trials.left_out} that failed, were pruned or never ended are left out")
    objectives = [w.objective for w in wanted]
    # The storage's URL may hold a password.
    return Source("optuna", trials.study, results, objectives, left_out, notes)
