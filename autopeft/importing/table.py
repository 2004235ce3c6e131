"""Rows of configurations and results: a CSV file, or the trials of another optimiser."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.objective import METRICS
from autopeft.importing.fields import literal, split
from autopeft.importing.found import Found, Wanted, in_bounds


def read_csv(path: Path, wanted: Sequence[Wanted]) -> tuple[list[Found], list[str]]:
    """The results, and why each of the other rows was left out.

    A column is a metric, its standard error (`accuracy_stderr`), or a parameter.

    Raises:
        AutopeftError: no such file, no header, one name for two columns, or the column of a metric
            that the model does not tell is not in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AutopeftError(f"import cannot read {path}: {error}") from error
    lines = csv.DictReader(text.splitlines())
    try:
        read, names = list(lines), lines.fieldnames
    except csv.Error as error:
        raise AutopeftError(f"import cannot read {path}: {error}") from error
    columns = [name for name in names or () if name]
    if missing := [w.column for w in wanted if w.column not in columns and not w.counted]:
        raise AutopeftError(
            f"{path.name} has no column {missing[0]!r}, it has {', '.join(columns) or 'none'}: "
            "name it as in --metric accuracy=test_accuracy"
        )
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise AutopeftError(f"{path.name} has two columns {twice[0]!r}: rename one of them")
    rows = [
        (f"row {number}", {k: v for k, v in row.items() if k and v is not None})
        for number, row in enumerate(read, start=1)
    ]
    return found_in(rows, wanted)


def found_in(
    rows: Iterable[tuple[str, Mapping[str, Any]]], wanted: Sequence[Wanted]
) -> tuple[list[Found], list[str]]:
    """The results of named rows, and why each of the others was left out."""
    found, left_out = [], []
    for name, row in rows:
        try:
            found.append(_found(name, row, wanted))
        except AutopeftError as error:
            left_out.append(f"{name}: {error}")
    return found, left_out


def _found(name: str, row: Mapping[str, Any], wanted: Sequence[Wanted]) -> Found:
    errors = {w.name: f"{w.column}_stderr" for w in wanted}
    taken = {*(w.column for w in wanted), *errors.values()}
    values = {
        w.name: in_bounds(w.name, _number(row.get(w.column), w.column), w.column)
        for w in wanted
        if w.column in row or not w.counted
    }
    stderr = {
        metric: _number(row[column], column)
        for metric, column in errors.items()
        if row.get(column) not in (None, "")
    }
    for metric, error in stderr.items():
        if error < 0:
            raise AutopeftError(f"{errors[metric]} takes 0 or more, got {error:g}")
    rest = {k: literal(v) if isinstance(v, str) else v for k, v in row.items() if k not in taken}
    fields, recipe = split(rest)
    known = {n: v for n, v in values.items() if n in METRICS and METRICS[n].known}
    return Found(
        name=name,
        fields=fields,
        recipe=recipe,
        metrics={n: v for n, v in values.items() if n not in known},
        known=known,
        stderr=stderr,
    )


def _number(value: Any, column: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        got = "nothing" if value in (None, "") else repr(value)
        raise AutopeftError(f"{column} takes a number, got {got}")
    return number
