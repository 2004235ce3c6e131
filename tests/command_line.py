"""The product as a user starts it: in a folder, as a process of its own, or as if it were one."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from autopeft import cli

AUTOPEFT = [sys.executable, "-m", "autopeft"]


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOPEFT", "MLFLOW", "RAY"))}
    return {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def autopeft(
    folder: Path, *arguments: str, code: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    done = subprocess.run(
        [*AUTOPEFT, *arguments],
        cwd=folder,
        env={**environment(folder), **variables},
        capture_output=True,
        text=True,
        timeout=400,
    )
    return _as_expected(done, code)


def here(
    folder: Path, *arguments: str, code: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The same in this process: another would only load torch again."""
    return _as_expected(asked(folder, {**environment(folder), **variables}, *arguments), code)


def asked(
    folder: Path, environ: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A command in this process, however it ends."""
    out, said, ended = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, environ, clear=True),
        mock.patch.object(sys, "argv", ["autopeft", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
    ):
        try:
            cli.main()
        except SystemExit as end:
            ended = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, ended, out.getvalue(), said.getvalue())


def _as_expected(
    done: subprocess.CompletedProcess[str], code: int
) -> subprocess.CompletedProcess[str]:
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done
