"""The lock file from an environment: every package's version, with the hashes of its files.

    .venv/bin/python .ci/lock.py              # `make lock`
    .venv/bin/python .ci/lock.py 3.12 3.13    # with the files for these Pythons on Linux

pip says which file it would install, for this interpreter and for each of the others; torch stands
by its version alone, as its build differs by machine. Packages that one of the others has no wheel
of keep the hashes that there are: `make HASHES=no` installs there by versions alone.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
_GLIBC = (28, 27, 26, 24, 17, 12, 5)
_OLD = ("manylinux2014", "manylinux2010", "manylinux1")
_LINUX = (*(f"manylinux_2_{minor}" for minor in _GLIBC), *_OLD)


def frozen() -> list[str]:
    """`name==version` of all that is installed, autopeft and pip apart."""
    told = _pip("freeze", "--all", "--exclude-editable", "--exclude", "pip")
    return [re.sub(r"^(torch==[\d.]+)\+.*", r"\1", line) for line in told.splitlines()]


def hashes(pins: list[str], *options: str) -> dict[str, str]:
    """Canonical name -> SHA-256 of the file that pip would install."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted, report = Path(scratch) / "pins.txt", Path(scratch) / "report.json"
        wanted.write_text("\n".join(pins))
        _pip(
            *("install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"),
            *("--report", str(report), "--requirement", str(wanted), *options),
        )
        found = json.loads(report.read_text())["install"]
    return {
        canonical(each["metadata"]["name"]): each["download_info"]["archive_info"]["hashes"][
            "sha256"
        ]
        for each in found
    }


def of_python(version: str) -> list[str]:
    """pip's options for another Python on Linux x86-64."""
    platforms = [option for name in _LINUX for option in ("--platform", f"{name}_x86_64")]
    return ["--only-binary=:all:", "--target", "nowhere", "--python-version", version, *platforms]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(versions: list[str]) -> None:
    head = [line for line in LOCK.read_text().splitlines() if line.startswith("#")]
    pins = frozen()
    hashed = [pin for pin in pins if not pin.startswith("torch==")]
    found = [hashes(hashed), *(hashes(hashed, *of_python(version)) for version in versions)]
    lines = []
    for pin in pins:
        name = canonical(pin.partition("==")[0])
        known = sorted({each[name] for each in found if name in each})
        lines.append(" ".join([pin, *(f"--hash=sha256:{each}" for each in known)]))
    LOCK.write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
