"""The versions that the metadata admit are those that are tested, at both ends."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _pins(file):
    """{package: version} of `package==version` lines."""
    lines = (line for line in file.read_text().splitlines() if not line.startswith("#"))
    return dict(line.split("==") for line in lines if "==" in line)


OLDEST, NEWEST = _pins(ROOT / "tests" / "oldest.txt"), _pins(ROOT / "requirements.lock")


def _admitted():
    """{package: (oldest, what the versions have to be below)} of the project and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    found = {}
    for text in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        name = re.match(r"[\w-]+", text)[0]
        bounds = {kind: re.search(rf"{kind}([\d.]+)", text) for kind in (">=", "(?<!=)<")}
        found[name] = tuple(bound and bound[1] for bound in bounds.values())
    return found


def _number(version):
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize("package", OLDEST)
def test_the_oldest_version_admitted_is_the_oldest_tested(package):
    assert _number(_admitted()[package][0]) == _number(OLDEST[package])


@pytest.mark.parametrize("package", OLDEST)
def test_the_newest_version_tested_is_admitted(package):
    oldest, above = _admitted()[package]
    assert _number(oldest) <= _number(NEWEST[package])
    assert above is None or _number(NEWEST[package]) < _number(above)
