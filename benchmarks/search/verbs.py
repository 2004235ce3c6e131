"""The two verbs of a benchmark that searches: `run` appends to a record, `report` prints it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lines

from autopeft.domain.errors import AutopeftError


class Verbs(NamedTuple):
    """The parser of both verbs, with what each takes in every benchmark."""

    parser: argparse.ArgumentParser
    run: argparse.ArgumentParser
    report: argparse.ArgumentParser


def verbs(document: str | None, *, runs: str = "search", files: str | None = None) -> Verbs:
    """
    document: of the module; its first line describes it. runs: what `run` does before it appends.
    files: how many results `report` takes, as argparse's nargs.
    """
    parser = argparse.ArgumentParser(description=(document or "").splitlines()[0])
    found = parser.add_subparsers(dest="verb", required=True)
    running = found.add_parser("run", help=f"{runs}; append results to a file")
    running.add_argument("--out", type=Path, required=True, help="results, JSON lines")
    reporting = found.add_parser("report", help="print results as markdown tables")
    reporting.add_argument("results", type=Path, nargs=files)
    return Verbs(parser, running, reporting)


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
