"""`logs`: what a submitted search prints on its cluster."""

import sys
from typing import Annotated

import typer

from autopeft.commands.options import StudyName
from autopeft.domain.errors import StudyError
from autopeft.home import Home


def logs(
    study: StudyName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the search ends.")
    ] = False,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=0, help="So many of the last lines only.")
    ] = None,
) -> None:
    """Print what the driver of a submitted study says, also when it has ended."""
    from autopeft import build
    from autopeft.orchestrator.jobs import Jobs
    from autopeft.orchestrator.lease import last_driver

    store = build.open_store(Home.from_environment())
    store.study(study)
    driver = last_driver(store, study)
    if driver is None:
        raise StudyError(f"study {study!r} has no log: nobody has searched it yet")
    if not driver.who.job:
        raise StudyError(
            f"study {study!r} {'is' if driver.now else 'was last'} searched by {driver.who}, which "
            "was not submitted: what it says stands where it was started"
        )
    jobs = Jobs()
    printed = jobs.logs(driver.who.job)
    shown = printed if lines is None else "".join(_last(printed, lines))
    sys.stdout.write(shown)
    sys.stdout.flush()
    if not follow:
        return
    skip = len(printed)
    try:
        for piece in jobs.follow(driver.who.job):
            sys.stdout.write(piece[skip:])
            sys.stdout.flush()
            skip = max(0, skip - len(piece))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # of the looking; the job goes on


def _last(printed: str, lines: int) -> list[str]:
    return printed.splitlines(keepends=True)[-lines:] if lines else []
