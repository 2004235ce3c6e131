"""Trials and rungs as rows and back. JSON knows no NaN: such a number is kept as a text.

What reads a row raises one of UNREADABLE where no autopeft wrote it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event, StudyRecord
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial

Row = Mapping[Any, Any]
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """
    Raises:
        StudyError: a row that is read inside is damaged; it names `what`.
    """
    try:
        yield
    except UNREADABLE as error:
        raise StudyError(
            f"{what} cannot be read from the store ({type(error).__name__}: {error}): "
            "`autopeft store check` says what else is damaged; restore a backup into another store"
        ) from error


def study_of(row: Row) -> StudyRecord:
    return StudyRecord(**{**row, "document": _tree(row["document"])})


def event_of(row: Row) -> Event:
    return Event(row["kind"], row["trial"], row["time"], _tree(row["payload"]))


def trial_row(study: str, trial: Trial) -> dict[str, Any]:
    failure = trial.failure
    return {
        "study": study,
        "number": trial.number,
        "configuration": trial.configuration.document(),
        "configuration_key": trial.configuration.key,
        "seed": trial.seed,
        "point": _thaw(trial.point),
        "known": numbers_out(trial.known),
        "why": text(trial.why),
        "baseline": trial.baseline,
        "state": str(trial.state),
        "next_rung": trial.next_rung,
        "failure": None
        if failure is None
        else {
            "reason": str(failure.reason),
            "message": text(failure.message),
            "details": text(failure.details),
            "seconds": float(failure.seconds),
        },
        "created": trial.created,
        "provenance": plain(trial.provenance),
        "expected_gain": trial.expected_gain,
        "expected_left": trial.expected_left,
        "confirms": trial.confirms,
    }


def trial_of(row: Row, rungs: tuple[Rung, ...]) -> Trial:
    failure = row["failure"]
    if not all(isinstance(row[name], int) for name in ("number", "seed", "next_rung")):
        raise TypeError("a number is none")
    return Trial(
        number=row["number"],
        configuration=Configuration.from_document(row["configuration"]),
        seed=row["seed"],
        point=_freeze(row["point"]),
        known=numbers_in(row["known"]),
        why=row["why"],
        baseline=row["baseline"],
        state=State(row["state"]),
        next_rung=row["next_rung"],
        rungs=rungs,
        failure=None
        if failure is None
        else Failure(
            FailureReason(failure["reason"]),
            failure["message"],
            failure["details"],
            failure.get("seconds", 0.0),  # an older autopeft did not count them
        ),
        created=row["created"],
        provenance=_tree(row["provenance"]),
        expected_gain=row["expected_gain"],
        expected_left=row["expected_left"],
        confirms=row["confirms"],
    )


def rung_row(study: str, trial: int, rung: Rung) -> dict[str, Any]:
    return {
        "study": study,
        "trial": trial,
        "rung": rung.index,
        "step": int(rung.step),
        "metrics": numbers_out(rung.metrics),
        "stderr": numbers_out(rung.stderr),
        "seconds": float(rung.seconds),
        "started": float(rung.started),
        "ended": float(rung.ended),
        "worker": text(rung.worker),
        "test": numbers_out(rung.test) or None,
        "test_stderr": numbers_out(rung.test_stderr) or None,
    }


def rung_of(row: Row) -> Rung:
    return Rung(
        index=int(row["rung"]),
        step=int(row["step"]),
        metrics=numbers_in(row["metrics"]),
        stderr=numbers_in(row["stderr"]),
        seconds=float(row["seconds"]),
        started=float(row["started"]),
        ended=float(row["ended"]),
        worker=row["worker"],
        test=numbers_in(row["test"] or {}),
        test_stderr=numbers_in(row["test_stderr"] or {}),
    )


def numbers_out(numbers: Mapping[str, float]) -> dict[str, float | str]:
    return {k: float(v) if math.isfinite(v) else str(float(v)) for k, v in numbers.items()}


def numbers_in(numbers: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items()}


def plain(value: Any) -> Any:
    """JSON data without what databases refuse: NaN and infinity become texts."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case str():
            return text(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def text(value: str) -> str:
    """A text without NUL and lone surrogates (from undecodable file names), which are refused."""
    return value.replace("\x00", "").encode(errors="replace").decode()


def _tree(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"JSON with names was stored, got {value!r:.40}")
    return value


def _thaw(point: Row) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in point.items()}


def _freeze(point: Row) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in point.items()}
