"""The lines of requirements.lock that the image installs, hashes and all.

    python locked.py EXTRA... > lines

What the project and these of its extras need, as pip resolves it at the versions of the lock; what
develops and tests is left out. torch is, too: its build is chosen by the Dockerfile.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path


def wanted(project: dict, extras: Iterable[str]) -> list[str]:
    """The requirements of a pyproject.toml's [project] and of its extras."""
    own = f"{project['name']}["  # an extra that is made of others
    optional = project["optional-dependencies"]
    more = [one for extra in extras for one in optional[extra] if not one.startswith(own)]
    return [*project["dependencies"], *more]


def name_of(line: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[=<>!~;\[ ]", line, maxsplit=1)[0]).lower()


def lines(lock: str, names: Iterable[str]) -> list[str]:
    """Those of the lock that pin one of the names."""
    asked = {name_of(name) for name in names} - {"torch"}
    return [line for line in lock.splitlines() if "==" in line and name_of(line) in asked]


def resolved(requirements: Iterable[str], lock: str) -> list[str]:
    """The names of all that pip would install."""
    with tempfile.TemporaryDirectory() as folder:
        versions, report = Path(folder, "versions.txt"), Path(folder, "report.json")
        versions.write_text(re.sub(r" --hash=\S+", "", lock))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        pip += ["--report", str(report), "--constraint", str(versions), *requirements]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        return [one["metadata"]["name"] for one in json.loads(report.read_text())["install"]]


if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    lock = Path("requirements.lock").read_text()
    requirements = [*wanted(project, sys.argv[1:]), "setuptools"]  # which builds autopeft
    print(*lines(lock, resolved(requirements, lock)), sep="\n")
