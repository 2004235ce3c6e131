"""What the shell completes: names of studies, numbers of trials.

The store is asked only where it is there already, and whatever goes wrong ends in no suggestion: a
shell that completes has nobody to tell.
"""

from pathlib import Path

import typer

from autopeft.domain.ports import Store
from autopeft.home import Home
from autopeft.namespaces import short_name


def study_names(incomplete: str) -> list[str]:
    """Of the store that the environment names."""
    try:
        store = _store()
        names = [] if store is None else [record.name for record in store.studies()]
    except Exception:
        return []
    return [name for name in map(short_name, names) if name.startswith(incomplete)]


def trial_numbers(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Completed trials of the study that the command line names before, each with what it is."""
    from autopeft.domain.networks.describe import describe
    from autopeft.domain.trial import State

    try:
        store = _store()
        trials = [] if store is None else store.history(ctx.params["study"])
    except Exception:
        return []
    return [
        (str(trial.number), describe(trial.configuration))
        for trial in trials
        if trial.state is State.COMPLETED and str(trial.number).startswith(incomplete)
    ]


def _store() -> Store | None:
    """None: a file that is not there, which opening would make."""
    home = Home.from_environment()
    path = home.store_url.removeprefix("sqlite:///")
    if path != home.store_url and not Path(path).is_file():
        return None
    from autopeft.store import SqlStore

    return SqlStore(home.store_url)
