"""The first thing that a submitted job runs, on the cluster: `python entry.py`.

Sent along with every job, so that a client can speak to a cluster with another autopeft, or none.
The standard library alone, for the same reason; the client reads it as a text, and its own
versions by `versions`.
"""

import importlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

REQUEST = "request.json"
PARTS = ("autopeft", "ray", "peft", "python")


def versions() -> dict[str, str]:
    """Of this environment; a part that is not installed is missing."""
    found = {"python": platform.python_version()}
    with suppress(ImportError):
        found["autopeft"] = importlib.import_module("autopeft").__version__
    for name in ("ray", "peft"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def refusal(client: Mapping[str, str], cluster: Mapping[str, str]) -> str:
    """Why the two cannot work together; "" where they can.

    autopeft: the same major and minor version, which space files and stores belong to. Ray: the
    same major version, for jobs are its stable interface and the client's own Ray runs nothing.
    """
    for name, digits, what in (("autopeft", 2, "major and minor"), ("ray", 1, "major")):
        mine, there = client.get(name, "none"), cluster.get(name, "none")
        if _head(mine, digits) != _head(there, digits):
            return (
                f"this machine has {name} {mine}, the cluster has {there}: they have to agree in "
                f"the {what} version, so install the same on both"
            )
    return ""


def remark(client: Mapping[str, str], cluster: Mapping[str, str]) -> str:
    """What differs and may matter: what is checked here by one PEFT is trained there by another."""
    names = [n for n in PARTS if _head(client.get(n, ""), 2) != _head(cluster.get(n, ""), 2)]
    told = [f"{n} {client.get(n, 'none')} here, {cluster.get(n, 'none')} there" for n in names]
    return f"versions differ: {'; '.join(told)}" if told else ""


def _head(version: str, digits: int) -> list[str]:
    return version.split(".")[:digits]


def main() -> None:
    """Compare versions, then hand over to the cluster's own autopeft."""
    place = Path(__file__).resolve().parent
    request = json.loads((place / REQUEST).read_text(encoding="utf-8"))
    if said := refusal(request["versions"], versions()):
        print(f"error: {said} ({sys.executable})", file=sys.stderr, flush=True)
        sys.exit(2)
    if said := remark(request["versions"], versions()):
        print(said, file=sys.stderr, flush=True)
    # -P: what was sent is no place to import autopeft from.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "autopeft.submitted", str(place)])


if __name__ == "__main__":
    main()
