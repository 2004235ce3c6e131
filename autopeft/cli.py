"""The verbs: parse, call, print.

Exit codes: 0 done; 1 the study has no completed trial; 2 wrong input (a space file, a name, an
option), said in one message; 130 interrupted: paused, `autopeft resume` goes on.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from autopeft import __version__
from autopeft.domain.errors import AutopeftError
from autopeft.home import Home

app = typer.Typer(
    help="Search PEFT configurations for the best trade-off between quality and cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Build data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

SpaceFile = Annotated[Path, typer.Argument(help="The space file (YAML).", metavar="SPACE.YAML")]
StudyName = Annotated[str, typer.Argument(help="The study's name.", metavar="STUDY")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: budget.trials=50.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Local = Annotated[
    bool, typer.Option("--local", help="One trial after another in this process, without Ray.")
]


def main() -> None:
    """Run the command line; the only place that turns errors into exit codes."""
    # The live view is the progress; bars of what is loaded under it would tear it.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    # On import it tells of an optional kernel for CPUs, whatever the model is.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        app(standalone_mode=True)
    except AutopeftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def validate(space: SpaceFile, overrides: Overrides = None) -> None:
    """Check a space file, first alone, then against its model and data. Trains nothing."""
    from autopeft import build
    from autopeft.config import load

    spec, shape = build.bound(load(space, overrides or ()), space)
    names = ", ".join(branch.name for branch in spec.space.searched)
    print(
        f"{space}: valid: study {spec.name}, branches {names}, "
        f"{shape.model_type} with {shape.layers} layers"
    )


@app.command()
def plan(space: SpaceFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show what the space contains and what its budget costs. Trains nothing."""
    from autopeft import build
    from autopeft.config import load
    from autopeft.plan_view import cost_of, plan_rows, print_plan

    spec, shape = build.bound(load(space, overrides or ()), space)
    rows = plan_rows(build.problem(spec, shape))
    cost = cost_of(spec, shape)
    if as_json:
        print(json.dumps({"study": spec.name, "branches": rows, "cost": cost}, indent=2))
    else:
        print_plan(spec, rows, cost)


@app.command()
def search(
    space: SpaceFile,
    overrides: Overrides = None,
    new: Annotated[bool, typer.Option("--new", help="Start another study (NAME-2, ...).")] = False,
    extend: Annotated[bool, typer.Option("--extend", help="Widen the existing study.")] = False,
    local: Local = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search the space; comes back to the study of this name when there is one."""
    from autopeft import build, entry
    from autopeft.config import load

    spec = load(space, overrides or ())
    home = Home.from_environment()
    build.bound(spec, space)
    store = build.open_store(home)
    spec = entry.enter(spec, store, new=new, extend=extend)
    _run(spec, home, store, local=local, quiet=quiet, as_json=as_json)


@app.command()
def resume(
    study: StudyName, local: Local = False, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Go on with a study: same space, same budget."""
    from autopeft import build, entry

    home = Home.from_environment()
    store = build.open_store(home)
    spec = entry.stored(study, store)
    _run(spec, home, store, local=local, quiet=quiet, as_json=as_json)


def _run(spec: Any, home: Home, store: Any, *, local: bool, quiet: bool, as_json: bool) -> None:
    from autopeft import build
    from autopeft.domain.front import pick
    from autopeft.orchestrator.stopping import prospects
    from autopeft.terminal import LiveView, against_baselines, counts, out, talk, trial_table

    view = LiveView(spec, quiet=quiet)
    if not quiet:
        talk.print(f"study {spec.name} in {home.folder}", soft_wrap=True, highlight=False)
    with build.open_search(spec, home, store, local=local, listeners=(view.changed,)) as found:
        spec, session = found.spec, found.session
        with _stops(found.stop) as interrupted, view.watch(session):
            found.run()
        trials, members = session.trials, session.front
        hopeless, stopped = session.hopeless, session.stopped
    if interrupted():
        talk.print(f"\npaused: {counts(trials)}. Go on with: autopeft resume {spec.name}")
        raise typer.Exit(130)
    if hopeless or not members:
        failure = next((t.failure for t in reversed(trials) if t.failure is not None), None)
        said = f"; the last failure says: {failure.message}" if failure else ""
        talk.print(f"error: no trial was completed ({counts(trials)}){said}", markup=False)
        raise typer.Exit(1)
    chosen = pick(spec.objectives, spec.constraints, trials)
    if as_json:
        _print_front_json(spec, trials, members)
        return
    out.print(trial_table(spec.objectives, members, among=trials, title=f"front of {spec.name}"))
    out.print()
    out.print(f"{counts(trials)}; hypervolume {session.hypervolume:.4f}", highlight=False)
    for text in prospects(spec, trials, stopped):
        out.print(text, highlight=False, soft_wrap=True)
    if text := against_baselines(spec, trials, members):
        out.print(text, highlight=False)
    out.print(f"Pick: {chosen.reason}", highlight=False, markup=False)
    out.print("\nNext:", highlight=False)
    for command in _next_commands(spec.name, home):
        out.print(f"  {command}", highlight=False, soft_wrap=True)


def _next_commands(study: str, home: Home) -> tuple[str, ...]:
    """The three commands to try after a search, as they work from this directory."""
    prefix = "" if _on_path() else f"{Path(sys.argv[0]).parent}/"
    uri = home.mlflow_uri
    return (
        f"{prefix}mlflow ui --backend-store-uri {uri}",
        f"{prefix}autopeft export {study} --to {study}-adapter",
        f"{prefix}autopeft resume {study}",
    )


def _on_path() -> bool:
    import shutil

    found = shutil.which("autopeft")
    return found is not None and Path(found).resolve() == Path(sys.argv[0]).resolve()


@contextmanager
def _stops(stop: threading.Event) -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into `stop`; a second Ctrl-C interrupts at once."""
    interrupted = threading.Event()

    def handle(signum: int, _frame: object) -> None:
        if interrupted.is_set() and signum == signal.SIGINT:
            raise KeyboardInterrupt
        interrupted.set()
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def status(study: StudyName, as_json: AsJson = False) -> None:
    """Say how far a study is."""
    from autopeft import build, entry
    from autopeft.domain.front import front, normalised_hypervolume
    from autopeft.orchestrator.stopping import enough, last_proposed, prospects
    from autopeft.terminal import clock, counts

    store = build.open_store(Home.from_environment())
    record, spec = store.study(study), entry.stored(study, store)
    trials = store.history(study)
    members = front(spec.objectives, spec.constraints, trials)
    hypervolume = normalised_hypervolume(spec.objectives, spec.constraints, trials)
    seconds = sum(trial.seconds for trial in trials)
    stopped = enough(spec, trials) if record.state == "finished" else None
    proposed = last_proposed(trials)
    if as_json:
        states = [str(trial.state) for trial in trials]
        row = {
            "study": study,
            "state": record.state,
            "trials": {state: states.count(state) for state in sorted(set(states))},
            "budget": {
                name: value for name, value in vars(spec.budget).items() if value is not None
            },
            "front": [trial.number for trial in members],
            "hypervolume": hypervolume,
            "trial_seconds": seconds,
            "expected_gain": proposed.expected_gain if proposed else None,
            "expected_left": proposed.expected_left if proposed else None,
            "stopped": stopped,
        }
        print(json.dumps(row, indent=2))
        return
    limit = f" of {spec.budget.trials}" if spec.budget.trials else ""
    print(f"{study}: {record.state}, {len(trials)}{limit} trials: {counts(trials)}")
    print(f"front of {len(members)}, hypervolume {hypervolume:.4f}, {clock(seconds)} of trials")
    for text in prospects(spec, trials, stopped):
        print(text)
    for trial in trials:
        if trial.failure is not None:
            print(f"trial {trial.number} failed: {trial.failure.reason}: {trial.failure.message}")


@app.command("front")
def show_front(
    study: StudyName,
    modelled: Annotated[
        bool,
        typer.Option("--modelled", help="Choose by the search's model, which takes luck off."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the front."""
    from autopeft import build, entry
    from autopeft.domain.front import front
    from autopeft.terminal import out, trial_table

    if modelled:
        _show_modelled_front(study, as_json=as_json)
        return
    store = build.open_store(Home.from_environment())
    spec, trials = entry.stored(study, store), store.history(study)
    members = front(spec.objectives, spec.constraints, trials)
    if as_json:
        _print_front_json(spec, trials, members)
    else:
        out.print(trial_table(spec.objectives, members, among=trials))
    if not members:
        raise typer.Exit(1)


def _show_modelled_front(study: str, *, as_json: bool) -> None:
    """Who is on it is the model's choice; what was measured is shown beside what it believes."""
    from autopeft.domain.replicates import averaged
    from autopeft.study import load_study
    from autopeft.terminal import out, trial_row, trial_table

    found = load_study(study)
    believed, objectives = found.modelled_front, found.spec.objectives
    measured = {trial.number: trial for trial in averaged(found.trials)}
    members = [measured[trial.number] for trial in believed]
    if as_json:
        rows = [
            {
                **trial_row(trial, objectives, found.trials),
                "modelled": {o.metric: mean.metrics[o.metric] for o in objectives},
            }
            for trial, mean in zip(members, believed, strict=True)
        ]
        print(json.dumps({"study": study, "modelled_front": rows}, indent=2))
    else:
        title = f"front of {study} by the model's means"
        out.print(
            trial_table(objectives, members, among=found.trials, believed=believed, title=title)
        )
    if not members:
        raise typer.Exit(1)


def _print_front_json(spec: Any, trials: Any, members: Any) -> None:
    from autopeft.domain.front import normalised_hypervolume
    from autopeft.terminal import trial_row

    document = {
        "study": spec.name,
        "hypervolume": normalised_hypervolume(spec.objectives, spec.constraints, trials),
        "front": [trial_row(trial, spec.objectives, trials) for trial in members],
    }
    print(json.dumps(document, indent=2))


@app.command()
def best(
    study: StudyName,
    when: Annotated[
        str, typer.Option(help="Limits: 'trainable_params <= 50000 and accuracy >= 0.8'.")
    ] = "",
    prefer: Annotated[str | None, typer.Option(help="The metric to take the best of.")] = None,
    as_json: AsJson = False,
) -> None:
    """Choose one trial of the front, with the reason."""
    from autopeft.study import load_study
    from autopeft.terminal import out, trial_row

    found = load_study(study)
    chosen = found.best(when, prefer=prefer)
    if as_json:
        row = trial_row(chosen.mean, found.spec.objectives, found.trials)
        print(json.dumps({**row, "reason": chosen.reason}, indent=2))
    else:
        out.print(chosen.reason, highlight=False, markup=False, soft_wrap=True)


@app.command()
def export(
    study: StudyName,
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(help="The trial; the pick when left out.")] = None,
    when: Annotated[str, typer.Option(help="Limits for the pick, as in `best`.")] = "",
    prefer: Annotated[str | None, typer.Option(help="As in `best`.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder in use.")] = False,
) -> None:
    """Write a trial as an adapter, its recipe and a train.py that needs no autopeft."""
    from autopeft.study import load_study

    found = load_study(study)
    chosen = found.trial(trial) if trial is not None else found.best(when, prefer=prefer)
    for path in chosen.export(to, force=force):
        print(path)


@app.command()
def studies(as_json: AsJson = False) -> None:
    """List the studies of the store."""
    from autopeft import build

    records = build.open_store(Home.from_environment()).studies()
    if as_json:
        rows = [{"study": r.name, "state": r.state, "created": r.created} for r in records]
        print(json.dumps(rows, indent=2))
        return
    for record in records:
        print(f"{record.name}\t{record.state}")


@app.command()
def sync(study: StudyName) -> None:
    """Deliver to MLflow what a server that was away has missed."""
    from autopeft import build, entry

    home = Home.from_environment()
    store = build.open_store(home)
    left = build.deliver(entry.stored(study, store), home, store)
    if left:
        raise AutopeftError(f"MLflow at {home.mlflow_uri} did not take {left} events: try again")
    print("MLflow is up to date")


@app.command()
def doctor() -> None:
    """Show versions, devices, the store, MLflow and Ray; exits 1 when a part is broken."""
    from autopeft.doctor import checks

    broken = False
    for name, good, text in checks(Home.from_environment()):
        broken |= not good
        print(f"{'ok ' if good else 'BAD'} {name}: {text}")
    if broken:
        raise typer.Exit(1)


@data_app.command("docstrings")
def data_docstrings(
    package: Annotated[list[str], typer.Option(help="An installed package, by import name.")],
    to: Annotated[Path, typer.Option(help="The folder for train, validation and test JSONL.")],
    seed: int = 0,
) -> None:
    """Build the pairs of the quickstart (signature, docstring) from packages of your own."""
    from autopeft.training.docstrings import build_docstrings, write

    for path in write(build_docstrings(package, seed=seed), to):
        print(path)
