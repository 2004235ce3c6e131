"""A node that goes away under a trial: SIGTERM or a drain, on a real cluster of two nodes."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time

import psutil
import pytest
from command_line import environment
from tiny_study import write_study

from autopeft.domain.trial import State
from autopeft.store import SqlStore

SPACE = """
study: spot
training: {per_device_train_batch_size: 4, num_train_epochs: 20, learning_rate: 3e-3, logging_steps: 1}
modules: [{peft_type: LORA, r: 2, lora_dropout: 0.2, target_modules: [query, value]}]
objectives: [{metric: eval_loss, goal: minimize}]
baselines: false
budget: {trials: 1}
search: {sampler: random, seed: 0}
"""
STEPS = 20 * 9

NODES = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.shutdown()
"""

DRIVER = """
import os, sys, threading, time
from functools import partial
from pathlib import Path
from ray import cloudpickle
from autopeft import build, config, entry
from autopeft.home import Home
from autopeft.builders import searches

class Slow:
    '''The real evaluator, ten steps a second, that writes down its steps.'''

    def __init__(self, spec, folder):
        self.inner, self.log = build.make_evaluator(spec, folder), folder / "steps"

    def run(self, segment, report):
        def slow(step, metrics):
            with self.log.open("a") as stream:
                stream.write(f"{step} {os.getpid()}\\n")
            time.sleep(PAUSE)
        return self.inner.run(segment, slow)

PAUSE = float(sys.argv[1])
cloudpickle.register_pickle_by_value(sys.modules["__main__"])
searches.make_evaluator = Slow
spec, home = config.load(Path("space.yaml")), Home.from_environment()
store = build.open_store(home)
spec = entry.enter(spec, store)
with build.open_search(spec, home, store, local=sys.argv[2:] == ["local"]) as found:
    found.run()
"""


def steps(folder):
    """(step, process) in the order of their training."""
    log = folder / "autopeft-studies" / "steps"
    lines = log.read_text().splitlines() if log.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


def told(folder):
    (trial,) = SqlStore(f"sqlite:///{folder / 'autopeft-studies' / 'autopeft.db'}").history("spot")
    assert trial.state is State.COMPLETED, trial.failure
    return trial.rungs[-1], trial.provenance


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("undisturbed"), SPACE)
    subprocess.run(
        [sys.executable, "-c", DRIVER, "0", "local"],
        cwd=folder,
        env=environment(folder),
        check=True,
        timeout=300,
    )
    return told(folder)


def by_sigterm_to_the_worker(worker, address, settings):
    os.kill(worker, signal.SIGTERM)


def by_sigterm_to_all_of_the_node(worker, address, settings):
    """As `ray stop` sends it, to the raylet first."""
    raylet = psutil.Process(worker).parent()
    assert "raylet" in raylet.name()
    raylet.terminate()
    os.kill(worker, signal.SIGTERM)


def by_drain(worker, address, settings):
    node = next(
        option.partition("=")[2]
        for option in psutil.Process(worker).parent().cmdline()
        if option.startswith("--node_id=")
    )
    asked = ["--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    asked += ["--reason-message", "spot", "--deadline-remaining-seconds", "60"]
    subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, *asked],
        env=settings,
        check=True,
        timeout=60,
    )


@pytest.mark.long
@pytest.mark.parametrize("end", [by_sigterm_to_the_worker, by_sigterm_to_all_of_the_node, by_drain])
def test_the_trial_goes_on_elsewhere_to_the_same_bits(tmp_path, undisturbed, end):
    folder = write_study(tmp_path, SPACE)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    settings = {**environment(folder), **token, "RAY_raylet_start_wait_time_s": "120"}
    cluster = subprocess.Popen(
        [sys.executable, "-c", NODES],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    driver = None
    try:
        address = cluster.stdout.readline().strip()
        assert address
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, "0.1"],
            cwd=folder,
            env={**settings, "RAY_ADDRESS": address},
        )
        deadline = time.monotonic() + 200
        while len(steps(folder)) < 20:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        worker = steps(folder)[-1][1]
        end(worker, address, settings)
        assert driver.wait(timeout=200) == 0
    finally:
        if driver is not None:
            driver.kill()
        cluster.communicate("end\n", timeout=60)
    ran = steps(folder)
    there = [step for step, process in ran if process == worker]
    after = [step for step, process in ran if process != worker]
    print(json.dumps({"cut after": max(there), "on from": min(after)}))
    assert there == list(range(1, max(there) + 1))
    assert after == list(range(min(after), STEPS + 1))
    assert len({process for _, process in ran}) == 2
    (rung, provenance), (expected, _) = told(folder), undisturbed
    assert rung.metrics["eval_loss"] == expected.metrics["eval_loss"]
    assert rung.step == expected.step == STEPS
    if end is not by_sigterm_to_all_of_the_node or min(after) > 1:
        assert provenance["resumed"]
        assert min(after) == max(there) + 1  # no step was lost
