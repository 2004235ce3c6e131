"""`show`: one trial, everything about it."""

import json
from typing import Annotated

import typer

from autopeft.commands.options import AsJson, StudyName


def show(
    study: StudyName,
    trial: Annotated[int, typer.Argument(help="The trial's number.", metavar="TRIAL")],
    as_json: AsJson = False,
) -> None:
    """Show one trial: what it is, what it measured, why it was proposed, what went wrong."""
    from autopeft.report.document import finite
    from autopeft.study import load_study
    from autopeft.terminal import out
    from autopeft.views.trial import trial_document, trial_view

    found = load_study(study)
    chosen = found.trial(trial)
    document = trial_document(found.spec, found.trials, chosen.trial, adapter=chosen.adapter)
    document = {**document, "owner": found.owner}
    if as_json:
        print(json.dumps(finite(document), indent=2))
    else:
        out.print(trial_view(found.spec, found.trials, chosen.trial, document), highlight=False)
