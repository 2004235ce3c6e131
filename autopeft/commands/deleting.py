"""`delete`: a study that nobody needs any more."""

from typing import Annotated

import typer

from autopeft.commands.options import StudyName
from autopeft.home import Home


def delete(
    study: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; else it is only said.")] = False,
) -> None:
    """Delete a study from the store, and its checkpoints and adapters. MLflow keeps its runs."""
    from autopeft import build
    from autopeft.domain.errors import StudyError

    home = Home.from_environment()
    store = build.open_store(home)
    store.study(study)
    trials = len(store.history(study))
    where = build.place_of(study, store) or str(home.study(study))
    what = f"study {study}, its {trials} trials and its files in {where}"
    if not yes:
        raise StudyError(f"this would delete {what}, for good: say --yes")
    build.delete_study(study, home, store)
    print(f"deleted {what}")
