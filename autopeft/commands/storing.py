"""`store backup`, `store restore` and `store check`."""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autopeft.commands.options import AsJson
from autopeft.domain.errors import AutopeftError
from autopeft.home import Home

if TYPE_CHECKING:
    from autopeft.domain.ports import Store
    from autopeft.store.check import Finding

app = typer.Typer(help="Back up, restore and check the store.", no_args_is_help=True)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The new SQLite file.", metavar="FILE")],
) -> None:
    """Copy the store into a file, as it is at one moment; searches go on."""
    from autopeft.store.backup import backup as copied

    rows = copied(Home.from_environment().store_url, file)
    print(file)
    _tell(f"{rows['studies']} studies, {rows['trials']} trials, {rows['rungs']} results")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `store backup` wrote.", metavar="FILE")],
    study: Annotated[
        list[str] | None, typer.Option(help="A study of it; all of them without.")
    ] = None,
) -> None:
    """Copy the studies of a backup into the store, beside those that are there: all or none."""
    from autopeft.config import is_study_name
    from autopeft.namespaces import RULE
    from autopeft.store.backup import names_in
    from autopeft.store.backup import restore as copied

    for name in names_in(file):  # a folder is named by it
        if not all(is_study_name(part) for part in name.split("/")):
            raise AutopeftError(
                f"{file} is no store of autopeft: a study's name takes {RULE}, got {name!r}"
            )
    home = Home.from_environment()
    home.folder.mkdir(parents=True, exist_ok=True)
    rows = copied(file, home.store_url, only=study)
    print(f"restored {rows['studies']} studies, {rows['trials']} trials, {rows['rungs']} results")


@app.command()
def check(as_json: AsJson = False) -> None:
    """Say whether the store is sound; exits 1 with a line for each thing that is not."""
    from autopeft import build
    from autopeft.orchestrator.lease import holder
    from autopeft.store.check import check as findings

    home = Home.from_environment()

    @cache  # opening upgrades: only what is of this schema is opened
    def store() -> "Store":
        return build.open_store(home)

    found = findings(home.store_url, lambda study: holder(store(), study) is not None)
    if all(each.study for each in found):  # of this schema, and readable
        damaged = {each.study for each in found if "cannot be read" in each.what}
        found = [*found, *_adapters(home, store(), damaged)]
    if as_json:
        print(json.dumps([vars(each) for each in found], indent=2))
    else:
        for each in found:
            print(each)
        if not found:
            print("the store is sound")
    if found:
        raise typer.Exit(1)


def _adapters(home: Home, store: "Store", damaged: set[str]) -> "Iterator[Finding]":
    """Adapters of a front that should be on this machine and are not.

    Own training code keeps its weights where it likes, and another machine's are not here.
    """
    from autopeft.domain.results.front import front
    from autopeft.importing import is_imported
    from autopeft.records import spec_of
    from autopeft.store.backup import names
    from autopeft.store.check import Finding
    from autopeft.store.engine import engine_of

    for name in sorted({*names(engine_of(home.store_url))} - damaged):
        record = store.study(name)
        try:
            spec = spec_of(record)
        except AutopeftError as error:
            what = f"its space file cannot be read ({str(error).splitlines()[0]})"
            yield Finding(name, what, "use the autopeft that wrote it, or restore a backup")
            continue
        folder = home.study(name) / "adapters"
        own = "evaluator" in record.document or is_imported(record.document)
        if own or not folder.is_dir():
            continue
        members = front(spec.objectives, spec.constraints, store.history(name))
        for trial in members:
            if not trial.baseline and not (folder / f"trial-{trial.number}").is_dir():
                again = f"autopeft export {name} --trial {trial.number} --to script"
                do = f"`{again}` writes the code that trains it again"
                yield Finding(name, f"the adapter of trial {trial.number} is gone", do)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
