"""`report` and `ui`: the Pareto explorer, as a file and live."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from autopeft.commands.options import StudyName, whole
from autopeft.domain.errors import AutopeftError
from autopeft.home import Home


def report(
    study: StudyName,
    to: Annotated[Path, typer.Option(help="The page to write, or its data as .json.")],
) -> None:
    """Write the Pareto explorer: one HTML page that needs no server and no network."""
    import json

    from autopeft import build, entry
    from autopeft.report.page import explorer_page

    if to.suffix not in (".html", ".json"):
        raise AutopeftError(f"report writes a .html page or its .json, got --to {to}: name one")
    store = build.open_store(Home.from_environment())
    document = build.study_explorer(entry.stored(study, store), store)()
    text = explorer_page(document) if to.suffix == ".html" else json.dumps(document, indent=1)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise AutopeftError(f"report cannot write {to}: {error.strerror}") from error
    print(to)


def ui(
    study: Annotated[
        str | None,
        typer.Argument(help="A study; all of the store without.", callback=whole),
    ] = None,
    port: Annotated[int, typer.Option(help="0: any free one.", min=0, max=65535)] = 8517,
    host: Annotated[
        str, typer.Option(help="Another than this machine's own asks for AUTOPEFT_UI_TOKEN.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
) -> None:
    """Serve the Pareto explorer live from the store. Ctrl-C ends it.

    With AUTOPEFT_UI_TOKEN set it lets in who has the token; without, it serves this machine alone.
    """
    from autopeft import build, entry
    from autopeft.report.server import make_server

    store = build.open_store(Home.from_environment())
    token = os.environ.get("AUTOPEFT_UI_TOKEN", "")
    served = (
        build.study_explorer(entry.stored(study, store), store)
        if study
        else build.StudyExplorers(store)
    )
    with make_server(
        served, host=host, port=port, token=token, metrics=build.store_metrics(store)
    ) as server:
        address = f"http://{host}:{server.server_address[1]}/"
        print(address, flush=True)
        said = "; it asks for the token: open it with ?token=... once" if token else ""
        print(f"Ctrl-C ends it; a search that runs goes on{said}", file=sys.stderr)
        if browser and not token:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
