"""Arguments and options that several verbs take."""

from pathlib import Path
from typing import Annotated

import typer

from autopeft.commands.completing import study_names
from autopeft.namespaces import whole_name


def whole(name: str | None) -> str | None:
    """For `callback`: typer takes a second parameter for its context."""
    return name and whole_name(name)


SpaceFile = Annotated[Path, typer.Argument(help="The space file (YAML).", metavar="SPACE.YAML")]
StudyName = Annotated[
    str,
    typer.Argument(
        help="The study's name.", metavar="STUDY", autocompletion=study_names, callback=whole
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: budget.trials=50.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Local = Annotated[
    bool, typer.Option("--local", help="One trial after another in this process, without Ray.")
]
Submit = Annotated[
    bool,
    typer.Option(
        "--submit",
        help="Hand it to the cluster whose job server RAY_ADDRESS names; it goes on there when "
        "this machine is gone.",
    ),
]
