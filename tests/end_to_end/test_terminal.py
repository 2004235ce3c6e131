"""A search on a terminal of its own: the live view is drawn, and Ctrl-C is what a user's key sends."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections import Counter

import pytest
from command_line import AUTOPEFT, environment
from own_code import write

from autopeft.store import SqlStore

BODY = """import time
    p = configuration.parameters
    time.sleep({seconds})
    return {{"rouge": (score(p), 0.01), "size": p["rank"]}}"""
CTRL_C = b"\x03"


class Terminal:
    """A command in a pseudo-terminal of 80 columns by 24 lines, whose keys signal its group."""

    def __init__(self, folder, *arguments):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.child = subprocess.Popen(
            [*AUTOPEFT, *arguments],
            cwd=folder,
            env={
                **environment(folder),
                "TERM": "xterm-256color",
                "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
            },
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._bytes = b""

    @property
    def text(self):
        """All that was written, without its colours and jumps."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._bytes.decode(errors="replace"))

    def until(self, words, *, after="", timeout_s=120.0):
        """Wait for words after others; fails with what there was instead."""
        limit = time.monotonic() + timeout_s
        while words not in self.text.rpartition(after)[2] if after else words not in self.text:
            assert time.monotonic() < limit, self.text[-3000:]
            if not self._read():
                pytest.fail(f"it ended before {words!r}: {self.text[-3000:]}")

    def press(self, key):
        os.write(self._master, key)

    def end(self, timeout_s=60.0):
        """The exit code."""
        limit = time.monotonic() + timeout_s
        while self._read():
            assert time.monotonic() < limit, self.text[-3000:]
        os.close(self._master)
        return self.child.wait(10)

    def _read(self):
        """False when the other side is closed."""
        if not select.select([self._master], [], [], 0.2)[0]:
            return True
        try:
            new = os.read(self._master, 65536)
        except OSError:
            return False
        self._bytes += new
        return bool(new)


@pytest.fixture
def start(tmp_path):
    begun = []

    def start(*arguments, seconds):
        write(tmp_path, BODY.format(seconds=seconds))
        begun.append(Terminal(tmp_path, *arguments))
        return begun[-1]

    yield start
    for terminal in begun:
        if terminal.child.poll() is None:
            terminal.child.kill()


def states(folder):
    store = SqlStore(f"sqlite:///{folder / 'autopeft-studies' / 'autopeft.db'}")
    return dict(Counter(str(trial.state) for trial in store.history("free")))


def test_one_ctrl_c_ends_the_rung_that_runs_and_pauses(start, tmp_path):
    terminal = start("search", "space.yaml", "--local", seconds=1)
    terminal.until("● front")
    assert "of 8 trials" in terminal.text
    assert "running" in terminal.text
    terminal.press(CTRL_C)
    terminal.until("pausing when this rung ends")
    assert terminal.end() == 130
    last = terminal.text.rpartition("paused: ")[2]
    assert "Go on with: autopeft resume free" in last
    assert set(states(tmp_path)) == {"completed"}
    assert str(states(tmp_path)["completed"]) in last


@pytest.mark.long
def test_two_ctrl_c_end_at_once_and_what_was_told_is_kept(start, tmp_path):
    terminal = start("search", "space.yaml", "--local", seconds=600)
    terminal.until("1 running")
    terminal.press(CTRL_C)
    terminal.until("pausing when this rung ends")
    terminal.press(CTRL_C)
    began = time.monotonic()
    assert terminal.end() == 130
    assert time.monotonic() - began < 30
    assert "stopped at once; what was told is kept. Go on with: autopeft resume free" in (
        re.sub(r"\s+", " ", terminal.text)
    )
    assert states(tmp_path) == {"running": 1}  # `resume` hands it out again


@pytest.mark.long
def test_ctrl_c_ends_the_workers_on_ray(start, tmp_path):
    terminal = start("search", "space.yaml", "--set", "search.parallel=2", seconds=5)
    terminal.until("● front")
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    assert "Go on with: autopeft resume free" in terminal.text
    told = states(tmp_path)
    assert told["completed"] >= 1
    assert set(told) <= {"completed", "running"}


@pytest.mark.long
def test_two_ctrl_c_end_ray_at_once(start, tmp_path):
    terminal = start("search", "space.yaml", "--set", "search.parallel=2", seconds=600)
    terminal.until("2 running")
    terminal.press(CTRL_C)
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    assert "Go on with: autopeft resume free" in re.sub(r"\s+", " ", terminal.text)
    assert states(tmp_path) == {"running": 2}
