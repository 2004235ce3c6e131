"""`config-schema` and `init`: what comes before a search."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autopeft.domain.errors import AutopeftError

if TYPE_CHECKING:
    from autopeft.domain.tasks import TaskKind
    from autopeft.starting import Settings

_TRIALS = 40


def init(
    model: Annotated[
        str | None, typer.Option(help="A folder, package:NAME/FOLDER, or a name on the hub.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Training rows: JSONL, CSV or Parquet, a folder, a name on the hub."),
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="Validation rows; looked for beside the training rows.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test rows; as --validation.")] = None,
    task: Annotated[
        str | None, typer.Option(help="The kind of task, where the data do not tell: SEQ_CLS, ...")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="What a column is: text=review, label=stars.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study's name.")] = None,
    trials: Annotated[int, typer.Option(help="The budget.", min=1)] = _TRIALS,
    to: Annotated[Path, typer.Option(help="The file to write.")] = Path("space.yaml"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
) -> None:
    """Write a commented space file for your model and data; asks what it cannot see."""
    if to.exists() and not force:
        raise AutopeftError(f"{to} exists: write another by --to, or over it by --force")
    if study is not None:
        _check_name(study)
    ask = _refuse if yes or not sys.stdin.isatty() else _prompt
    given = _columns(column or [])
    model = model or ask("which model to adapt", (), "--model MODEL")
    data = data or ask("where the training rows are", (), "--data FILE")
    # Looked at before the libraries are loaded, which takes seconds.
    from autopeft import build
    from autopeft import starting as start
    from autopeft.config import load
    from autopeft.domain.tasks import KINDS

    folder = to.parent
    seen = start.see_model(model, folder=folder)
    rows, train = start.see_data(data, validation=validation, test=test, folder=folder)
    kind = start.kind_for(rows, seen.family, task, ask)
    columns = start.columns_for(kind, rows, given, ask)
    _tell(f"model: {seen.model_type}, {seen.family}; data: {rows.rows:,} rows")
    read = ", ".join(f"{name} as {key}" for key, name in columns.items())
    name = next(name for name, known in KINDS.items() if known == kind)
    _tell(f"task: {name}, reading {read} (--task and --column say otherwise)")
    lengths = start.see_lengths(seen, kind, columns, train, folder=folder)
    text = start.space_text(
        seen,
        build.shape_of({"model_name_or_path": seen.name, **_kind(kind)}, folder=str(folder)),
        rows,
        kind,
        columns,
        lengths,
        _settings(study or _name_for(data, kind.task_type), trials),
    )
    write(to, text)
    print(to)
    try:
        build.bound(load(to), to)
    except AutopeftError as error:
        raise AutopeftError(f"{to} is written, and something is left to mend:\n{error}") from error
    _tell(f"next: autopeft plan {to}, then autopeft search {to}")


def _settings(study: str, trials: int) -> "Settings":
    import torch

    from autopeft.starting import Settings

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    bf16 = bool(gpus) and torch.cuda.is_bf16_supported()
    return Settings(study, trials, gpus, len(os.sched_getaffinity(0)), bf16)


def _kind(kind: "TaskKind") -> dict[str, str]:
    found = {"task_type": kind.task_type}
    return {**found, "problem_type": kind.problem_type} if kind.problem_type else found


def _check_name(study: str) -> None:
    from autopeft.config import is_study_name
    from autopeft.namespaces import RULE

    if not is_study_name(study):
        raise AutopeftError(f"--study takes {RULE}, got {study!r}")


def _name_for(data: str, task: str) -> str:
    """By the data: the file's name, or that of its folder where the file is but a split."""
    path = Path(data)
    name = path.stem if path.suffix else path.name
    if name in ("train", "data", "") and path.resolve().parent.name:
        name = path.resolve().parent.name
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")
    return name or task.lower().replace("_", "-")


def _columns(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        key, equals, name = text.partition("=")
        if not (key and equals and name):
            raise AutopeftError(f"--column takes KEY=NAME, as text=review, got {text!r}")
        found[key] = name
    return found


def _refuse(what: str, options: Sequence[str], flag: str) -> str:
    among = f" ({', '.join(options)})" if options else ""
    raise AutopeftError(f"init cannot see {what}{among}: say it by {flag}")


def _prompt(what: str, options: Sequence[str], flag: str) -> str:
    """Ask at the terminal, until the answer is one that there is."""
    among = f" ({', '.join(options)})" if options else ""
    while True:
        answer = str(typer.prompt(f"{what[0].upper()}{what[1:]}{among}", err=True)).strip()
        if not options or answer in options:
            return answer
        _tell(f"it is one of {', '.join(options)}, got {answer}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def config_schema(
    to: Annotated[Path | None, typer.Option(help="The file to write, not stdout.")] = None,
) -> None:
    """Print the JSON schema of a space file, by which editors complete and check it."""
    from autopeft.config.schema import space_schema

    text = json.dumps(space_schema(), indent=1, ensure_ascii=False) + "\n"
    if to is None:
        print(text, end="")
        return
    write(to, text)
    print(to)
    line = f"# yaml-language-server: $schema={to}"
    print(f"An editor reads it by this line at the top of a space file:\n{line}", file=sys.stderr)


def write(path: Path, text: str) -> None:
    """Raises AutopeftError: the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AutopeftError(f"{path} cannot be written: {error.strerror}") from error
