"""Processes of other programs that tests start, and end."""

import os
from contextlib import suppress

import psutil


def end(process: psutil.Process) -> None:
    """kill -9 of a process and of all that descends from it."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=10)


def plain() -> dict[str, str]:
    """The variables of a shell in which nothing of these tests was set."""
    taken = ("AUTOPEFT", "MLFLOW", "RAY")
    return {k: v for k, v in os.environ.items() if not k.startswith(taken)}
