"""Two searches on one real cluster: each has half of it, and who is left has all of it again."""

import secrets
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
from command_line import environment

from autopeft.domain.trial import State
from autopeft.orchestrator.lease import ask_to_stop
from autopeft.store import SqlStore

pytestmark = pytest.mark.long

CLUSTER_OF_FOUR = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.shutdown()
"""

DRIVER = """
import os, sys, threading, time
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
import ray
from ray import cloudpickle
import fakes
from autopeft.orchestrator import fair_shares, lease, ray_tune
from autopeft.orchestrator.lease import Lease
from autopeft.orchestrator.session import StudySession
from autopeft.domain.study import Resources
from autopeft.domain.trial import Result
from autopeft.store import SqlStore

fair_shares.LOOK_S = lease.BEAT_S = 0.2

class Sleeper:
    def run(self, segment, report):
        started = time.time()
        time.sleep(1.0)
        return Result(step=1, metrics={{"accuracy": 0.5}}, seconds=1.0, started=started,
                      ended=time.time(), worker=str(os.getpid()))

cloudpickle.register_pickle_by_value(sys.modules["__main__"])
name, trials = sys.argv[1], int(sys.argv[2])
store = SqlStore("sqlite:///store.db")
spec = fakes.study_spec(name=name, trials=trials, parallel=4)
store.create(fakes.record_of(spec))
stop = threading.Event()
with Lease(store, name, stop).hold() as leased:
    session = StudySession(spec, problem=fakes.fake_problem(spec), store=leased,
                           sampler=fakes.RandomSampler(), clock=time.time)
    ray_tune.run(session, Sleeper, parallel=4, resources=Resources(cpus_per_trial=1,
                 memory_gib_per_trial=0.01), folder=Path(name), stop=stop, store=leased)
"""


def test_two_searches_run_beside_each_other_on_half_the_cluster_each(tmp_path):
    """A search that had all four slots leaves two of them, idle actors and all, and has them back."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    settings = {**environment(tmp_path), **token}
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER_OF_FOUR],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    drivers = []
    script = DRIVER.format(tests=str(Path(__file__).parents[1]))

    def driver(name, trials):
        return subprocess.Popen(
            [sys.executable, "-c", script, name, str(trials)],
            cwd=tmp_path,
            env={**settings, "RAY_ADDRESS": address},
        )

    def ran(name):
        found = [t for t in store.history(name) if t.state is State.COMPLETED]
        return sorted((t.rungs[0].started, t.rungs[0].ended) for t in found)

    def at_once(spans, moment):
        return sum(began <= moment < ended for began, ended in spans)

    def now(name, seconds=2.0):
        """The most that ended together in the last of them."""
        spans = ran(name)
        late = [began for began, ended in spans if ended > time.time() - seconds]
        return max((at_once(spans, began) for began in late), default=0)

    def until(true):
        deadline = time.monotonic() + 120
        while not true():
            assert time.monotonic() < deadline
            assert drivers[0].poll() is None
            time.sleep(0.2)

    try:
        address = cluster.stdout.readline().strip()
        store = SqlStore(f"sqlite:///{tmp_path / 'store.db'}")
        drivers.append(driver("long", 2000))
        until(lambda: store.studies() and now("long") == 4)
        drivers.append(driver("short", 24))
        assert drivers[1].wait(timeout=120) == 0
        until(lambda: now("long") == 4)
        ask_to_stop(store, "long")
        assert drivers[0].wait(timeout=60) == 0
    finally:
        for process in drivers:
            process.kill()
        cluster.communicate("end\n", timeout=60)
    first, second = ran("long"), ran("short")
    # Between: two each; the first seconds are the way there.
    between = [began for began, _ in second if began > second[0][0] + 4]
    assert median(at_once(first, began) for began in between) == 2
    assert median(at_once(second, began) for began in between) == 2
    assert max(at_once(first + second, began) for began in between) <= 4
