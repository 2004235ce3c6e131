"""Two drivers on one study: the second is refused, and may end the first."""

import signal
import subprocess
import time

import pytest
from command_line import AUTOPEFT, autopeft, environment

from autopeft.store import SqlStore

EVALUATE = """
import time

def evaluate(configuration, context):
    time.sleep(1.5)
    return {"score": configuration.parameters["x"]}
"""
SPACE = """
autopeft: 1
study: slow
evaluator: slowly:evaluate
metrics: {score: {goal: maximize}}
space: {only: {parameters: {x: {low: 0.0, high: 1.0}}}}
objectives: [{metric: score}]
budget: {trials: 200}
search: {sampler: random, seed: 0}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "slowly.py").write_text(EVALUATE)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


def start(folder):
    """A driver that has begun its first trial."""
    driver = subprocess.Popen(
        [*AUTOPEFT, "search", "space.yaml", "--local"],
        cwd=folder,
        env=environment(folder),
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 120
    while not (folder / "autopeft-studies" / "autopeft.db").exists() or not told(folder):
        assert driver.poll() is None, driver.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.2)
    return driver


def told(folder):
    store = SqlStore(f"sqlite:///{folder / 'autopeft-studies' / 'autopeft.db'}")
    return sum(bool(t.rungs) for t in store.history("slow")) if store.studies() else 0


def test_a_second_driver_is_refused_and_stop_pauses_the_first(folder):
    driver = start(folder)
    try:
        for command in (["search", "space.yaml"], ["confirm", "slow"]):
            second = autopeft(folder, *command, "--local", code=2)
            assert f"study 'slow' is being searched by process {driver.pid} on " in second.stderr
        asked = autopeft(folder, "stop", "slow")
        assert f"asked process {driver.pid} on " in asked.stdout
        said = driver.communicate(timeout=60)[1]
        assert driver.returncode == 130, said
        assert "Go on with: autopeft resume slow" in said
    finally:
        driver.kill()


@pytest.mark.long
def test_a_driver_that_was_killed_is_followed_at_once(folder):
    driver = start(folder)
    driver.kill()
    driver.wait()
    follower = subprocess.Popen(
        [*AUTOPEFT, "resume", "slow", "--local"],
        cwd=folder,
        env=environment(folder),
        stderr=subprocess.PIPE,
        text=True,
    )
    before = told(folder)
    while told(folder) <= before:
        assert follower.poll() is None, follower.stderr.read()
        time.sleep(0.5)
    follower.send_signal(signal.SIGTERM)
    assert "took over study slow from process" in follower.communicate(timeout=60)[1]
