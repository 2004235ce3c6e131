"""The versions that the metadata admit are those that are tested, at both ends."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _pins(file):
    """{package: version} of `package==version` lines."""
    lines = (line for line in file.read_text().splitlines() if not line.startswith("#"))
    return dict(line.split()[0].split("==") for line in lines if "==" in line)


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


def test_the_lock_holds_a_hash_of_every_file_but_torch_s():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    without = [line for line in lines if line[:1] != "#" and "--hash=sha256:" not in line]
    assert [re.match(r"[\w-]+", line)[0] for line in without] == ["torch"]
    hashes = [each for line in lines for each in re.findall(r"--hash=(\S+)", line)]
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes)
