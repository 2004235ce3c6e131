"""A submitted job on the cluster, once `job_entry` has compared versions.

`python -P -m autopeft.submitted FOLDER`, the folder with the request and the files that came.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from autopeft import build, cli, parcel
from autopeft.domain.errors import AutopeftError, StudyError
from autopeft.home import Home
from autopeft.job_entry import REQUEST

_PAUSED = 130


def main() -> None:
    """Run the verb that was asked for, as the command line does; a pause is no failure."""
    try:
        command = shutil.which("autopeft") or "autopeft"
        sys.argv = [command, *_prepare(Path(sys.argv[1]))]
        cli.main()
    except AutopeftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        sys.exit(0 if end.code == _PAUSED else end.code)


def _prepare(place: Path) -> list[str]:
    """The arguments of the verb; its files are where they stay, and this is the place to be.

    Raises:
        StudyError: the cluster has no place for studies, or another store than the client.
    """
    request = json.loads((place / REQUEST).read_text(encoding="utf-8"))
    if not os.path.isabs(os.environ.get("AUTOPEFT_HOME", "")):
        raise StudyError(
            "the cluster has no place for its studies: set AUTOPEFT_HOME to an absolute path in "
            "the environment that `ray start` is run in"
        )
    home = Home.from_environment()
    home.folder.mkdir(parents=True, exist_ok=True)
    store = build.open_store(home)
    if store.identity() != request["store"]:
        raise StudyError(
            "the cluster's AUTOPEFT_STORE and that of this machine are different databases: "
            "let both name the same one"
        )
    verb, *arguments = request["arguments"]
    files = place / parcel.FILES
    if request["space"]:
        folder = parcel.unpack(files, request["parcel"], home)
        arguments = [str(folder / request["space"]), *arguments]
    else:
        kept = parcel.sent(store.study(arguments[0]).folder)
        if kept is not None and kept.is_dir():
            shutil.copytree(kept, files)
    if files.is_dir():
        os.chdir(files)  # as workers do; a copy, for what is kept is called by its content
    return [verb, *arguments]


if __name__ == "__main__":
    main()
