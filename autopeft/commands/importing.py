"""`import`: what others measured, as a study."""

from pathlib import Path
from typing import Annotated

import typer

from autopeft.commands.options import whole
from autopeft.home import Home


def import_results(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of the PEFT comparison suite's result files or a .jsonl of them; an "
            "Optuna storage (sqlite:///file.db); a .csv.",
        ),
    ],
    study: Annotated[
        str, typer.Option("--study", help="The name of the new study.", callback=whole)
    ] = "imported",
    kind: Annotated[
        str | None,
        typer.Option("--from", help="peft-suite, optuna, csv; else by the source's name."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model that was trained: a folder with its config, or a hub name."),
    ] = None,
    task: Annotated[str, typer.Option(help="Its task type, as in a space file.")] = "CAUSAL_LM",
    metric: Annotated[
        list[str] | None,
        typer.Option(help="NAME, NAME=COLUMN or NAME=COLUMN:minimize; once for each objective."),
    ] = None,
    optuna_study: Annotated[
        str | None, typer.Option(help="The study's name in the Optuna storage.")
    ] = None,
) -> None:
    """Import results as a study to look at (`front`) and to start a search from (`warm_start`)."""
    from autopeft import build
    from autopeft.terminal import talk

    store = build.open_store(Home.from_environment())
    done = build.import_study(
        store,
        name=study,
        kind=kind or _kind(source),
        source=source,
        model=model,
        task=task,
        metrics=metric or [],
        optuna_study=optuna_study,
    )
    for text in done.notes:
        talk.print(text, highlight=False, markup=False, soft_wrap=True)
    print(f"{study}: {done.trials} results imported; see `autopeft front {study}`")


def _kind(source: str) -> str:
    if "://" in source:
        return "optuna"
    return "csv" if Path(source).suffix.lower() == ".csv" else "peft-suite"
