"""A table: one row for each configuration, seed and rung, as typed values and as a parquet file.

The file is flat for whoever reads it with another tool: `accuracy`, `accuracy_stderr`, `layer_0`,
... What it was made with, and which columns are metrics, stands in its schema's metadata.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError

_ORIGIN = b"autopeft_benchmark"


@dataclass(frozen=True)
class Row:
    """What one rung of one run measured, or why it measured nothing.

    rung: 0-based; stop: the step that the rung was planned at, None for the end of training.
    step: optimiser steps done; None where it failed.
    targets: the kinds of module that are wrapped, without layers; layers: on or off, by layer.
    metrics, stderr, known: by the product's names; memory and times are those of the run so far.
    seconds: wall time of this rung alone, model building and evaluation included.
    failure: reason and message; None where it went well.
    ended: seconds since the epoch, of the whole run.
    """

    key: str
    seed: int
    rung: int
    stop: int | None
    step: int | None
    branch: str
    peft_type: str
    size: int | None
    targets: str
    layers: tuple[bool, ...]
    learning_rate: float
    metrics: Mapping[str, float]
    stderr: Mapping[str, float]
    known: Mapping[str, float]
    seconds: float
    failure: tuple[str, str] | None
    ended: float
    point: Mapping[str, Any]
    configuration: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """The rows of a study's grid, ordered by run and rung, and what they were made with."""

    rows: tuple[Row, ...]
    origin: Mapping[str, Any]

    @property
    def last(self) -> tuple[Row, ...]:
        """The rows of runs that came to their end."""
        return tuple(row for row in self.rows if row.stop is None and row.failure is None)

    @property
    def first_seed(self) -> int:
        return min(row.seed for row in self.rows)


def of_record(runs: Sequence[Mapping[str, Any]], origin: Mapping[str, Any]) -> Table:
    """The table of the lines that `record.py` wrote.

    Raises:
        AutopeftError: there are none.
    """
    if not runs:
        raise AutopeftError("a table needs at least one recorded run, got none: run record.py")
    stops = [*((origin["rungs"] or {}).get("steps", ())), None]
    depth = 1 + max(max(_layers(run)) for run in runs)
    return Table(tuple(row for run in runs for row in _rows(run, stops, depth)), origin)


def _rows(run: Mapping[str, Any], stops: Sequence[int | None], depth: int) -> Iterable[Row]:
    configuration = Configuration.from_document(run["configuration"])
    module = configuration.architecture.modules[0]
    layers = _layers(run)
    failed: Sequence[Any] = [] if run["failure"] is None else [None]
    for i, rung in enumerate([*run["rungs"], *failed]):
        yield Row(
            key=run["key"],
            seed=run["seed"],
            rung=i,
            stop=stops[i],
            step=rung and rung["step"],
            branch=configuration.branch,
            peft_type=module.peft_type,
            size=module.size,
            targets=" ".join(sorted({_kind(name) for name in module.targets})),
            layers=tuple(layer in layers for layer in range(depth)),
            learning_rate=configuration.recipe["learning_rate"],
            metrics=rung["metrics"] if rung else {},
            stderr=rung["stderr"] if rung else {},
            known=run["known"],
            seconds=rung["seconds"] if rung else 0.0,
            failure=None if rung else (run["failure"]["reason"], run["failure"]["message"]),
            ended=run["ended"],
            point=run["point"],
            configuration=run["configuration"],
        )


def _layers(run: Mapping[str, Any]) -> set[int]:
    modules = run["configuration"]["architecture"]["modules"]
    return {layer for module in modules for layer in module["layers"]}


def _kind(target: str) -> str:
    """A module's name within its layer: `attention.self.query`."""
    parts = target.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[0] + 1 :]) if numbers else target


_PLAIN = ("key", "seed", "rung", "stop", "step", "branch", "peft_type", "size", "targets")


def write(table: Table, file: Path) -> None:
    """Write a table; the folder is made when needed."""
    names = {
        "metrics": sorted({name for row in table.rows for name in row.metrics}),
        "stderr": sorted({name for row in table.rows for name in row.stderr}),
        "known": sorted({name for row in table.rows for name in row.known}),
    }
    flat = pa.Table.from_pylist([_flat(row, names) for row in table.rows])
    told = json.dumps({"origin": dict(table.origin), **names}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(flat.replace_schema_metadata({_ORIGIN: told}), file, compression="zstd")


def _flat(row: Row, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in _PLAIN},
        **{f"layer_{layer}": on for layer, on in enumerate(row.layers)},
        "learning_rate": row.learning_rate,
        **{name: row.metrics.get(name) for name in names["metrics"]},
        **{f"{name}_stderr": row.stderr.get(name) for name in names["stderr"]},
        **{name: row.known.get(name) for name in names["known"]},
        "seconds": row.seconds,
        "failure_reason": row.failure[0] if row.failure else None,
        "failure": row.failure[1] if row.failure else None,
        "ended": row.ended,
        "point": json.dumps(row.point),
        "configuration": json.dumps(row.configuration),
    }


def read(file: Path) -> Table:
    """The table of a file that `write` made.

    Raises:
        AutopeftError: the file is missing, or no such table.
    """
    try:
        flat = pq.read_table(file)
        told = json.loads((flat.schema.metadata or {})[_ORIGIN])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise AutopeftError(f"{file} is no table of this benchmark: name one in tables/") from error
    return Table(tuple(_row(found, told) for found in flat.to_pylist()), told["origin"])


def _row(found: Mapping[str, Any], told: Mapping[str, Sequence[str]]) -> Row:
    def there(names: Sequence[str], suffix: str = "") -> dict[str, float]:
        return {n: found[n + suffix] for n in names if found[n + suffix] is not None}

    bits = sorted((n for n in found if n.startswith("layer_")), key=lambda n: int(n[6:]))
    reason = found["failure_reason"]
    return Row(
        **{name: found[name] for name in _PLAIN},
        layers=tuple(found[name] for name in bits),
        learning_rate=found["learning_rate"],
        metrics=there(told["metrics"]),
        stderr=there(told["stderr"], "_stderr"),
        known=there(told["known"]),
        seconds=found["seconds"],
        failure=None if reason is None else (reason, found["failure"]),
        ended=found["ended"],
        point=json.loads(found["point"]),
        configuration=json.loads(found["configuration"]),
    )
