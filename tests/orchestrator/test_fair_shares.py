"""Searches that share a cluster: who gets how much, and that it is really theirs."""

import json
import time
from dataclasses import replace

import pytest
from fakes import MemoryStore, record_of, study_spec
from hypothesis import given
from hypothesis import strategies as st

from autopeft.orchestrator import fair_shares
from autopeft.orchestrator.fair_shares import CLUSTER, FairShare, dealt, slots
from autopeft.orchestrator.lease import HEARD, HOLDER, Holder


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
