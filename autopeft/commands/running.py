"""`search`, `resume` and `stop`: the verbs that train, and that end it."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopeft.commands.confirming import run_confirmation
from autopeft.commands.looking import print_front_json
from autopeft.commands.options import AsJson, Local, Overrides, Quiet, SpaceFile, StudyName, Submit
from autopeft.commands.stopping import go_on, says_how_to_go_on, stops
from autopeft.commands.submitting import refuse_local, submit_search, submit_study
from autopeft.home import Home
from autopeft.hygiene import public_url
from autopeft.namespaces import file_name

if TYPE_CHECKING:
    from autopeft.domain.trial import Failure


def search(
    space: SpaceFile,
    overrides: Overrides = None,
    new: Annotated[bool, typer.Option("--new", help="Start another study (NAME-2, ...).")] = False,
    extend: Annotated[bool, typer.Option("--extend", help="Widen the existing study.")] = False,
    control: Annotated[
        bool,
        typer.Option(
            "--control",
            help="Search NAME-control instead: the whole budget on LoRA's rank, targets and "
            "learning rate.",
        ),
    ] = False,
    local: Local = False,
    submit: Submit = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search the space; comes back to the study of this name when there is one."""
    if submit:
        refuse_local(local)
        given = {"--new": new, "--extend": extend, "--control": control}
        flags = [flag for flag, on in given.items() if on]
        submit_search(space, overrides or (), flags, quiet=quiet, as_json=as_json)
        return
    from autopeft import build, entry
    from autopeft.config import load
    from autopeft.control import control_of
    from autopeft.orchestrator.lease import refuse_busy

    spec = load(space, overrides or ())
    home = Home.from_environment()
    found, shape = build.bound(spec, space)
    build.check_own_code(spec)  # before there is a study
    build.check_sampler(found, shape)
    build.check_reach(found, shape, space)
    if control:
        spec = control_of(spec, shape)
    store = build.open_store(home)
    if extend and not new:
        refuse_busy(store, spec.name)
    spec = entry.enter(spec, store, new=new, extend=extend)
    _run(spec, home, store, local=local, quiet=quiet, as_json=as_json)


def resume(
    study: StudyName,
    local: Local = False,
    submit: Submit = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a study: same space, same budget."""
    if submit:
        refuse_local(local)
        submit_study(study, ["resume", study], quiet=quiet, as_json=as_json)
        return
    from autopeft import build, entry

    home = Home.from_environment()
    store = build.open_store(home)
    spec = entry.trained(study, store)
    _run(spec, home, store, local=local, quiet=quiet, as_json=as_json)


def stop(study: StudyName) -> None:
    """Pause a search from anywhere that reaches its store."""
    from autopeft import build
    from autopeft.orchestrator.lease import BEAT_S, ask_to_stop

    driver = ask_to_stop(build.open_store(Home.from_environment()), study)
    print(f"asked {driver} to pause {study}: it looks every {BEAT_S:.0f} s, and tells its trials")


def _run(spec: Any, home: Home, store: Any, *, local: bool, quiet: bool, as_json: bool) -> None:
    from autopeft import build, control
    from autopeft.domain.results.front import front, normalised_hypervolume
    from autopeft.domain.results.pick import pick
    from autopeft.domain.results.replicates import completed
    from autopeft.orchestrator.confirm_plan import settings as confirmation_asked
    from autopeft.orchestrator.stopping import prospects
    from autopeft.terminal import against_baselines, counts, out, paused, say, talk, trial_table
    from autopeft.views.live import LiveView
    from autopeft.views.sentences import failure_lines, saved_line
    from autopeft.views.standing import standing

    view = LiveView(spec, quiet=quiet, local=local)
    if not quiet:
        talk.print(f"study {spec.name} in {home.folder}", soft_wrap=True, highlight=False)
    written = spec  # a confirmation binds it to the model by itself
    with (
        says_how_to_go_on(go_on("resume", spec.name)),
        build.open_search(spec, home, store, local=local, listeners=(view.changed,)) as found,
    ):
        spec, session = found.spec, found.session
        watched = view.watch(session, found.stop)
        with stops(found.stop, view.pausing) as interrupted, watched, _undisturbed():
            found.run()
        trials, members = session.trials, session.front
        given_up, stopped = session.given_up, session.stopped
    if interrupted() or found.stop.is_set():
        said = f"\npaused: {paused(trials)}. Go on with: {go_on('resume', spec.name)}"
        talk.print(said, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130)
    if session.finished and members and (asked := confirmation_asked(spec, trials)):
        if run_confirmation(written, home, store, asked, local=local, quiet=quiet):
            talk.print(f"\npaused while confirming. Go on with: {go_on('resume', spec.name)}")
            raise typer.Exit(130)
        trials = store.history(spec.name)
        members = front(spec.objectives, spec.constraints, trials)
    if given_up or not members:
        failure = given_up or next((t.failure for t in reversed(trials) if t.failure), None)
        said = f"; the last failure says: {failure.message}" if failure else ""
        ended = completed(trials) and not given_up
        what = "no completed trial holds the constraints" if ended else "no trial was completed"
        talk.print(f"error: {what} ({counts(trials)}){said}", markup=False)
        if given_up and spec.evaluator is not None:
            _tell_given_up(given_up, spec.name)
        if as_json:
            print_front_json(spec, trials, members, control.found(spec, store))
        raise typer.Exit(1)
    chosen = pick(spec.objectives, spec.constraints, trials)
    if as_json:
        print_front_json(spec, trials, members, control.found(spec, store))
        return
    out.print(trial_table(spec.objectives, members, among=trials, title=f"front of {spec.name}"))
    out.print()
    volume = normalised_hypervolume(spec.objectives, spec.constraints, trials)
    out.print(f"{counts(trials)}; hypervolume {volume:.4f}", highlight=False)
    for text in (*prospects(spec, trials, stopped), saved_line(spec, standing(spec, trials, None))):
        if text:
            say(text)
    for text in failure_lines(spec, trials):
        say(text)
    if text := against_baselines(spec, trials, members):
        out.print(text, highlight=False)
    if spec.evaluator is not None and any(t.failure for t in trials):
        text = f"Failures of your code, with tracebacks: autopeft status {spec.name} --tracebacks"
        out.print(text, highlight=False, soft_wrap=True)
    out.print(f"Pick: {chosen.reason}", highlight=False, markup=False)
    out.print("\nNext:", highlight=False)
    # `export` has nothing to write where the user's own code trained no PEFT modules.
    weights = spec.evaluator is None or bool(chosen.trial.configuration.architecture.modules)
    for command in _next_commands(spec.name, home, weights=weights):
        out.print(f"  {command}", highlight=False, soft_wrap=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Garbage is looked for among what is new alone: all that was imported is here to stay, and a
    suggestion waited while it was walked over."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # connections are closed by it, too


def _tell_given_up(failure: "Failure", study: str) -> None:
    """The traceback of the user's code, which failed from the start, and what to do."""
    from autopeft.terminal import talk

    if failure.details:
        talk.print(f"\n{failure.details}", markup=False, highlight=False, soft_wrap=True)
    text = "Every trial failed, so the search stopped early. When it is mended, go on with"
    talk.print(f"\n{text}: autopeft resume {study}", markup=False, highlight=False, soft_wrap=True)


def _next_commands(study: str, home: Home, *, weights: bool) -> tuple[str, ...]:
    """The commands to try after a search, as they work from this directory.

    weights: whether the pick is something that `export` can write.
    """
    own, beside = "autopeft", ""
    if Path(sys.argv[0]).name == "__main__.py":  # python -m autopeft
        own, beside = f"{sys.executable} -m autopeft", f"{Path(sys.executable).parent}/"
    elif not _on_path():
        beside = f"{Path(sys.argv[0]).parent}/"
        own = f"{beside}autopeft"
    uri = home.mlflow_uri
    server = uri.startswith(("http:", "https:"))  # `mlflow ui` refuses one: it is looked at itself
    shown = public_url(uri) if server or public_url(uri) == uri else '"$MLFLOW_TRACKING_URI"'
    return (
        shown if server else f"{beside}mlflow ui --backend-store-uri {shown}",
        *([f"{own} export {study} --to {file_name(study)}-adapter"] if weights else []),
        f"{own} ui {study}",
    )


def _on_path() -> bool:
    import shutil

    found = shutil.which("autopeft")
    return found is not None and Path(found).resolve() == Path(sys.argv[0]).resolve()
