"""`config-schema` and `init`: what comes before a search."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from autopeft.domain.errors import AutopeftError


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
