"""`confirm`: the front on fresh seeds, and what they say of it."""

import json
import time
from typing import Annotated, Any

import typer

from autopeft.commands.options import AsJson, Local, Quiet, StudyName, Submit
from autopeft.commands.stopping import go_on, says_how_to_go_on, stops
from autopeft.commands.submitting import refuse_local, submit_study
from autopeft.home import Home


def confirm(
    study: StudyName,
    seeds: Annotated[
        int | None,
        typer.Option(help="Fresh seeds for each; as in the space file, else 5.", min=2),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Train nothing: only say what there is.")
    ] = False,
    local: Local = False,
    submit: Submit = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train the front and the baselines again on fresh seeds, and say what holds.

    Test figures are only shown here: nothing is chosen by them.
    """
    if submit and not report:
        refuse_local(local)
        again = ["--seeds", str(seeds)] if seeds else []
        submit_study(study, ["confirm", study, *again], quiet=quiet, as_json=as_json)
        return
    from autopeft import build, entry
    from autopeft.domain.study import Confirm
    from autopeft.terminal import talk

    home = Home.from_environment()
    store = build.open_store(home)
    spec = entry.trained(study, store)
    asked = Confirm(seeds or (spec.confirm or Confirm()).seeds)
    if not report and run_confirmation(spec, home, store, asked, local=local, quiet=quiet):
        talk.print(f"\npaused. Go on with: {go_on('confirm', study)}")
        raise typer.Exit(130)
    show_confirmation(spec, store, as_json=as_json)


def run_confirmation(
    spec: Any, home: Home, store: Any, asked: Any, *, local: bool, quiet: bool
) -> bool:
    """Plan what the confirmation still needs and run it; returns whether it was interrupted."""
    from autopeft import build
    from autopeft.orchestrator.confirm_session import ConfirmSession, begin
    from autopeft.orchestrator.lease import refuse_busy
    from autopeft.terminal import talk
    from autopeft.views.live import LiveView

    refuse_busy(store, spec.name)
    left = begin(spec, asked, store, now=time.time())
    if not left:
        return False
    if not quiet:
        talk.print(f"confirming {spec.name}: {left} runs on fresh seeds", highlight=False)
    view = LiveView(spec, quiet=quiet, local=local)
    with (
        says_how_to_go_on(go_on("confirm", spec.name)),
        build.open_search(
            spec,
            home,
            store,
            local=local,
            listeners=(view.changed,),
            session_class=ConfirmSession,
        ) as found,
        stops(found.stop, view.pausing) as interrupted,
        view.watch(found.session, found.stop),
    ):
        found.run()
    return interrupted() or found.stop.is_set()


def show_confirmation(spec: Any, store: Any, *, as_json: bool) -> None:
    """The report on stdout; exit code 1 where nothing was confirmed."""
    from autopeft import control
    from autopeft.confirmation_view import confirmation_document, print_confirmation
    from autopeft.domain.results.confirmation import parties
    from autopeft.report.document import finite

    trials = store.history(spec.name)
    beside = control.found(spec, store)
    found = parties(
        spec.objectives, spec.constraints, trials, controls=control.confirmed(spec, beside)
    )
    document = confirmation_document(spec, trials, found, beside)
    if as_json:
        print(json.dumps(finite(document), indent=2))
    else:
        print_confirmation(spec, trials, found, document)
    if not any(party.seeds for party in found):
        raise typer.Exit(1)
