"""Scratch folders go with their worker, and those of killed ones with the next."""

import signal
import subprocess
import sys
import tempfile

import pytest

from autopeft.artifacts import scratch
from autopeft.artifacts.scratch import Scratch, sweep

KILLED = """
import os, signal
from autopeft.artifacts.scratch import Scratch
kept = Scratch()
(kept.path / "weights").write_bytes(b"x" * 1000)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def own_tmp(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_goes_with_its_owner(own_tmp):
    mine = Scratch()
    (mine.path / "file").touch()
    other = Scratch()  # leaves the first alone
    assert (mine.path / "file").exists()
    del mine
    assert list(own_tmp.iterdir()) == [other.path]
    assert sweep() == 0


def test_what_a_killed_worker_left_is_deleted_by_the_next(own_tmp):
    command = [sys.executable, "-c", KILLED]
    done = subprocess.run(command, env={**scratch.os.environ, "TMPDIR": str(own_tmp)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(own_tmp.iterdir())) == 1
    (own_tmp / "autopeft-worker-being-made").mkdir()  # has no lock yet
    assert sweep() == 1
    assert [path.name for path in own_tmp.iterdir()] == ["autopeft-worker-being-made"]
