"""The settings of the service: `make env` makes `.env`, `make client` says how to reach it.

    python3 docker/env.py new [FILE]            # random passwords and tokens; refuses to overwrite
    python3 docker/env.py client [FILE [HOST]]  # shell lines that export what a user sets

Needs nothing but Python's own library, so that it runs before anything is installed.
"""

import os
import secrets
import shlex
import sys
from pathlib import Path

SECRETS = (
    "POSTGRES_PASSWORD",
    "STUDIES_PASSWORD",
    "MLFLOW_PASSWORD",
    "RAY_AUTH_TOKEN",
    "AUTOPEFT_UI_TOKEN",
)
_BYTES = 32

_SETTINGS = """\
# The settings of the service, made by `make env`. Keep it to yourself and back it up: the
# databases keep the passwords that they were made with. What may be set: docs/service.md.
COMPOSE_PROJECT_NAME=autopeft
COMPOSE_PROFILES=cpu
BIND=127.0.0.1
"""


def settings() -> str:
    """The text of a new file: every secret random, hexadecimal (so it needs no quotes in a URL)."""
    return _SETTINGS + "".join(f"{name}={secrets.token_hex(_BYTES)}\n" for name in SECRETS)


def write(file: Path) -> None:
    """Raises: FileExistsError: the file is there."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
        new.write(settings())


def read(file: Path) -> dict[str, str]:
    lines = (line.strip() for line in file.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def client(at: dict[str, str], host: str) -> dict[str, str]:
    """What a user sets. host: how the user reaches the service; "": as it is bound."""
    host = host or at.get("BIND", "").replace("0.0.0.0", "") or "127.0.0.1"
    studies = f"autopeft:{at['STUDIES_PASSWORD']}@{host}:{at.get('POSTGRES_PORT', '5432')}"
    return {
        "RAY_ADDRESS": f"http://{host}:{at.get('RAY_PORT', '8265')}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": at["RAY_AUTH_TOKEN"],
        "AUTOPEFT_STORE": f"postgresql://{studies}/autopeft",
        "MLFLOW_TRACKING_URI": f"http://{host}:{at.get('MLFLOW_PORT', '5000')}",
    }


def main(verb: str = "", path: str = ".env", host: str = "") -> None:
    file = Path(path)
    if verb == "new":
        try:
            write(file)
        except FileExistsError:
            sys.exit(
                f"{file} is there already, and the databases have its passwords: edit it, "
                "or delete it together with the volumes"
            )
        print(f"{file}: new passwords, for this user alone", file=sys.stderr)
    elif verb == "client":
        try:
            found = client(read(file), host)
        except FileNotFoundError:
            sys.exit(f"{file} is not there: run `make env` first")
        except KeyError as error:
            sys.exit(f"{file} has no {error.args[0]}: see docs/service.md")
        for name, value in found.items():
            print(f"export {name}={shlex.quote(value)}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
