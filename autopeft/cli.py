"""The verbs: parse, call, print.

Exit codes: 0 done; 1 the study has no completed trial; 2 wrong input (a space file, a name, an
option), said in one message; 130 interrupted: paused, `autopeft resume` goes on.
"""

import json
import logging
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from autopeft import __version__
from autopeft.commands import (
    confirming,
    deleting,
    exploring,
    exporting,
    following,
    importing,
    looking,
    running,
    showing,
    starting,
    storing,
)
from autopeft.commands.options import AsJson, Overrides, SpaceFile, StudyName
from autopeft.domain.errors import AutopeftError
from autopeft.home import Home
from autopeft.hygiene import public_url, redacted, visible
from autopeft.namespaces import own_namespace

app = typer.Typer(
    help="Search PEFT configurations for the best trade-off between quality and cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Build data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(storing.app, name="store")


class _Plain(logging.Formatter):
    """Log lines without secrets and without what a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(redacted(super().format(record)))


def _written_once(record: logging.LogRecord) -> bool:
    """Not what a library has just written itself; its further lines are ours to write."""
    library = logging.getLogger(record.name.partition(".")[0])
    if isinstance(library, logging.RootLogger):
        return True
    own = [handler for handler in library.handlers if type(handler) is logging.StreamHandler]
    for handler in own:
        library.removeHandler(handler)
    return all(record.levelno < handler.level for handler in own)


def main() -> None:
    """Run the command line; the only place that turns errors into exit codes."""
    # The live view is the progress; bars of what is loaded under it would tear it.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Plain("%(message)s"))
        handler.addFilter(_written_once)
    # On import it tells of an optional kernel for CPUs, whatever the model is.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        app(standalone_mode=True)
    except AutopeftError as error:
        print(visible(redacted(f"error: {error}")), file=sys.stderr)
        sys.exit(2)
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        where = f"{error.filename}: " if error.filename else ""
        said = f"error: {where}{error.strerror or error}: name another place, or make room for it"
        print(visible(redacted(said)), file=sys.stderr)
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


app.command()(starting.init)


@app.command()
def validate(space: SpaceFile, overrides: Overrides = None) -> None:
    """Check a space file, first alone, then against its model and data. Trains nothing."""
    from autopeft import build
    from autopeft.config import load
    from autopeft.training.loading.remarks import data_remarks, model_remarks

    spec, shape = build.bound(load(space, overrides or ()), space)
    build.check_own_code(spec)
    build.check_sampler(spec, shape)
    never = build.check_reach(spec, shape, space)
    lacking = build.store_remarks(spec, Home.from_environment())
    for remark in (*model_remarks(spec), *data_remarks(spec), *build.needs(spec), *never, *lacking):
        print(visible(remark), file=sys.stderr)
    names = ", ".join(branch.name for branch in spec.space.searched)
    model = f"{shape.model_type} with {shape.layers} layers" if spec.model else "no model"
    own = f", evaluator {spec.evaluator.function}" if spec.evaluator else ""
    print(f"{space}: valid: study {spec.name}, branches {names}, {model}{own}")


@app.command()
def plan(space: SpaceFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show what the space holds, what a trial takes and what the budget buys. Trains nothing."""
    from autopeft import build
    from autopeft.config import load
    from autopeft.plan_view import plan_of, print_plan
    from autopeft.training.loading.remarks import data_remarks, model_remarks

    spec, shape = build.bound(load(space, overrides or ()), space)
    found = plan_of(spec, build.problem(spec, shape))
    remarks = {
        "model": model_remarks(spec),
        "data": data_remarks(spec),
        "training": build.needs(spec),
        "search": build.store_remarks(spec, Home.from_environment()),
    }
    if as_json:
        said = {part: lines for part, lines in remarks.items() if lines or part == "data"}
        print(json.dumps({"study": spec.name, **found, **said}, indent=2))
    else:
        print_plan(spec, found)
        for remark in chain.from_iterable(remarks.values()):
            print(visible(remark))


app.command("config-schema")(starting.config_schema)
app.command()(running.search)
app.command()(running.resume)
app.command()(running.stop)
app.command()(deleting.delete)
app.command()(confirming.confirm)
app.command("import")(importing.import_results)
app.command()(looking.status)
app.command()(following.logs)
app.command("front")(looking.show_front)
app.command()(looking.best)
app.command()(showing.show)
app.command()(exploring.report)
app.command()(exploring.ui)
app.command()(exporting.export)


@app.command()
def studies(
    everyone: Annotated[
        bool, typer.Option("--all", help="Those of every namespace of the store.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the studies of one's own namespace, or all of the store."""
    from autopeft import build
    from autopeft.terminal import out
    from autopeft.views.studies import studies_table, study_rows

    store, namespace = build.open_store(Home.from_environment()), own_namespace()
    rows = study_rows(store, namespace=None if everyone else namespace)
    if others := 0 if everyone else len(store.studies()) - len(rows):
        whose = f"outside of {namespace}" if namespace else "in namespaces"
        print(f"{others} more {whose}: autopeft studies --all", file=sys.stderr)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif out.is_terminal:
        out.print(studies_table(rows))
    else:
        for row in rows:
            print(f"{row['study']}\t{row['state']}")


@app.command()
def sync(study: StudyName) -> None:
    """Deliver to MLflow what a server that was away has missed."""
    from autopeft import build, entry
    from autopeft.orchestrator.lease import refuse_busy

    home = Home.from_environment()
    store = build.open_store(home)
    refuse_busy(store, study)  # its driver delivers
    left = build.deliver(entry.stored(study, store), home, store)
    if left:
        where = public_url(home.mlflow_uri)
        raise AutopeftError(f"MLflow at {where} did not take {left} events: try again")
    print("MLflow is up to date")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show versions, devices, hub, store, MLflow and Ray; exits 1 when a part is broken."""
    from autopeft.doctor import checks

    found = []
    for check in checks(Home.from_environment()):
        found.append(check)
        if not as_json:
            print("\n".join(check.lines()), flush=True)
    if as_json:
        print(json.dumps([vars(check) for check in found], indent=2))
    if any(check.state == "BAD" for check in found):
        raise typer.Exit(1)


@data_app.command("docstrings")
def data_docstrings(
    package: Annotated[list[str], typer.Option(help="An installed package, by import name.")],
    to: Annotated[Path, typer.Option(help="The folder for train, validation and test JSONL.")],
    seed: int = 0,
) -> None:
    """Build the pairs of the quickstart (signature, docstring) from packages of your own."""
    from autopeft.training.loading.docstrings import build_docstrings, write

    for path in write(build_docstrings(package, seed=seed), to):
        print(path)
