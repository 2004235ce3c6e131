"""Searches that share a cluster: who gets how much, and that it is really theirs."""

import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from command_line import environment
from fakes import MemoryStore, record_of, study_spec
from hypothesis import given
from hypothesis import strategies as st

from autopeft.domain.trial import State
from autopeft.orchestrator import fair_shares
from autopeft.orchestrator.fair_shares import CLUSTER, FairShare, dealt, slots
from autopeft.orchestrator.lease import HEARD, HOLDER, Holder, ask_to_stop
from autopeft.store import SqlStore


def test_a_trial_fits_on_one_node_with_all_that_it_needs():
    nodes = [{"CPU": 8, "GPU": 2, "memory": 64.0}, {"CPU": 4}, {"CPU": 16, "GPU": 1, "memory": 8.0}]
    assert slots(nodes, {"CPU": 1, "GPU": 0}) == 28
    assert slots(nodes, {"CPU": 1, "GPU": 0.5}) == 6
    assert slots(nodes, {"CPU": 1, "GPU": 2}) == 1  # three GPUs are there, two of them together
    assert slots(nodes, {"CPU": 1, "GPU": 1, "memory": 16.0}) == 2
    assert slots([{"GPU": 1}], {"GPU": 0.1}) == 10
    assert slots(nodes, {"CPU": 64}) == 0


def test_slots_are_dealt_evenly_and_what_one_does_not_want_others_have():
    assert dealt(8, [8, 8]) == [4, 4]
    assert dealt(8, [1, 8]) == [1, 7]
    assert dealt(8, [8, 2, 8]) == [3, 2, 3]
    assert dealt(7, [7, 7, 7]) == [3, 2, 2]
    assert dealt(2, [2, 2, 2]) == [1, 1, 1]  # Ray queues the third
    assert dealt(0, [4]) == [1]


@given(st.integers(0, 50), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_a_deal_is_fair_and_wastes_nothing(there, wanted):
    got = dealt(there, wanted)
    assert all(1 <= have <= want for have, want in zip(got, wanted, strict=True))
    assert sum(got) == max(len(wanted), min(there, sum(wanted)))
    for have, want in zip(got, wanted, strict=True):
        # Who has less than it wants is behind nobody by more than the one slot that was left.
        assert have == want or have >= max(got) - 1


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(fair_shares, "LOOK_S", 0.01)
    found = MemoryStore()
    for name in ("a", "b", "c"):
        found.create(replace(record_of(study_spec()), name=name))
    return found


def driven(store, study, **changes):
    """As if a driver of this machine held the study; returns its lease."""
    found = replace(Holder.here(), id=f"driver of {study}", **changes)
    store.remember(study, HOLDER, found.text())
    store.remember(study, HEARD, repr(time.time()))
    return found


def share(store, study, *, parallel=8, cluster="one", there=8, told=lambda share: None):
    driven(store, study)
    return FairShare(
        store, study, parallel=parallel, cluster=cluster, slots=lambda: there, told=told
    )


def until(true):
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert true()


def test_who_is_alone_has_all_and_two_have_half_each_until_one_ends(store):
    said = []
    with share(store, "a", told=said.append).hold() as first:
        assert first.now == 8
        with share(store, "b").hold() as second:
            assert second.now == 4
            until(lambda: first.now == 4)
        until(lambda: first.now == 8)
    assert said == [4, 8]
    assert store.everywhere(CLUSTER) == {}


def test_searches_elsewhere_and_drivers_that_are_gone_take_nothing(store):
    with share(store, "b", cluster="another").hold(), share(store, "a").hold() as first:
        assert first.now == 8
    # Killed: what it said is still there.
    for gone in ({"process": 1.0}, {"host": "elsewhere"}):
        lease = driven(store, "b", **gone)
        store.remember("b", HEARD, "0.0")
        said = {"cluster": "one", "driver": lease.id, "part": 1.0}
        store.remember("b", CLUSTER, json.dumps(said))
        with share(store, "a").hold() as first:
            assert first.now == 8
    # On another machine, and heard of just now: it counts.
    store.remember("b", HEARD, repr(time.time()))
    with share(store, "a").hold() as first:
        assert first.now == 4


def test_a_part_is_counted_in_ones_own_trials(store):
    """b wants half of the cluster, in trials twice as large as a's."""
    with (
        share(store, "b", parallel=2, there=4).hold(),
        share(store, "a", parallel=8, there=8).hold() as first,
    ):
        assert first.now == 4
    with (
        share(store, "b", parallel=1, there=4).hold(),
        share(store, "a", parallel=8, there=8).hold() as first,
    ):
        assert first.now == 6


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
        time.sleep(0.5)
        return Result(step=1, metrics={{"accuracy": 0.5}}, seconds=0.5, started=started,
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


@pytest.mark.long
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
    script = DRIVER.format(tests=os.path.dirname(os.path.dirname(__file__)))

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

    def now(name, seconds=1.0):
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
    between = [began for began, _ in second if began > second[0][0] + 2]
    assert max(at_once(first, began) for began in between) == 2
    assert max(at_once(second, began) for began in between) == 2
