"""The two verbs of a benchmark that searches: `run` appends to a record, `report` prints it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lines

from autopeft.domain.errors import AutopeftError


def obey(
    chosen: argparse.Namespace,
    run: Callable[[argparse.Namespace], None],
    report: Callable[[list[dict[str, Any]]], str],
) -> int:
    """Do what was asked for, `chosen.verb`; the exit status, after one line where it is an error."""
    try:
        if chosen.verb == "run":
            run(chosen)
        else:
            print(report(_read(chosen.results)))
    except (AutopeftError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; every finished search is kept: the same command goes on", file=sys.stderr)
        return 130
    return 0


def _read(results: Path | Sequence[Path]) -> list[dict[str, Any]]:
    rows = []
    for file in [results] if isinstance(results, Path) else results:
        if not file.is_file():
            raise AutopeftError(
                f"report needs the results of a run, got no file {file}: correct it"
            )
        rows += lines.read(file)
    return rows
