"""How many trials a search may run at once, where others search on the same cluster.

Every driver says in its study's facts which cluster it uses and what part of it it would take
(`driver.cluster`). All of them read that, every few seconds, and come to the same division: slots
are dealt out one by one to whoever still wants one, in the order of the studies' names. With
searches that want everything that is floor(slots / searches) each, and one more for the first few;
what a small search does not want the others have. A search has one slot at least, which Ray queues
where there is none. Who is alone has all that it asks for, and waits for a node where it is more
than the cluster has.

Trials that run are never taken back: a share that shrinks is reached as they end.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Store
from autopeft.orchestrator.lease import HEARD, HOLDER, Holder

CLUSTER = "driver.cluster"
LOOK_S = 2.0

log = logging.getLogger("autopeft")


def slots(nodes: Iterable[Mapping[str, float]], needs: Mapping[str, float]) -> int:
    """How many trials fit a cluster at once; a trial runs on one node.

    nodes: what each has, by Ray's names. needs: of one trial; what it needs nothing of is no limit.
    """
    needs = {name: amount for name, amount in needs.items() if amount > 0}
    if not needs:
        return 0
    return sum(
        # Ray counts in ten-thousandths: 0.1 goes ten times into 1.
        int(min(node.get(name, 0.0) / amount for name, amount in needs.items()) + 1e-4)
        for node in nodes
    )


def dealt(slots: int, wanted: Sequence[int]) -> list[int]:
    """Slots for each search, in order: at least one, at most what it wants."""
    found = [1] * len(wanted)
    left = slots - len(wanted)
    while left > 0 and (open_ := [i for i, n in enumerate(found) if n < wanted[i]]):
        for i in open_[:left]:
            found[i] += 1
        left -= len(open_)
    return found


class FairShare:
    """The share of one search.

    Threads: `hold` starts one that looks; `now` may be read from any.

    Args:
        cluster: what the cluster is called by all of its drivers.
        slots: gives how many trials of this search fit it at once.
        told: called with every share that differs from the one before.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        *,
        parallel: int,
        cluster: str,
        slots: Callable[[], int],
        told: Callable[[int], None] = lambda share: None,
    ) -> None:
        self._store, self._study = store, study
        self._parallel, self._cluster = parallel, cluster
        self._slots, self._told = slots, told
        self._ending = threading.Event()
        holder = store.recall(study).get(HOLDER)
        self._driver = json.loads(holder)["id"] if holder else ""  # a session without a lease
        self.now = parallel

    @contextmanager
    def hold(self) -> Iterator["FairShare"]:
        """Take part in the division until the block ends."""
        self._look()
        looking = threading.Thread(target=self._watch, name="fair-share", daemon=True)
        looking.start()
        try:
            yield self
        finally:
            self._ending.set()
            looking.join()
            self._give_up()

    def _give_up(self) -> None:
        try:
            mine = self._store.recall(self._study).get(CLUSTER)
            if mine is not None and json.loads(mine)["driver"] == self._driver:
                self._store.swap(self._study, CLUSTER, mine, None)
        except StudyError as error:  # it counts for nothing once the lease is gone
            log.warning("the share of study %s was not given back: %s", self._study, error)

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_S):
            try:
                self._look()
            except (StudyError, OSError) as error:  # the last share holds meanwhile
                log.warning("the share of study %s was not looked up: %s", self._study, error)

    def _look(self) -> None:
        fit = self._slots()
        part = min(1.0, self._parallel / fit) if fit else 1.0
        mine = {"cluster": self._cluster, "driver": self._driver, "part": part}
        said = json.dumps(mine, sort_keys=True)
        claims = self._store.everywhere(CLUSTER)
        if claims.get(self._study) != said:
            self._store.remember(self._study, CLUSTER, said)
        parts = {**self._others(claims), self._study: part}
        share = self._parallel
        if len(parts) > 1:
            names = sorted(parts)
            wanted = [max(1, round(parts[name] * fit)) for name in names]
            share = min(share, dealt(fit, wanted)[names.index(self._study)])
        if share != self.now:
            log.debug("study %s may run %d trials at once", self._study, share)
            self.now = share
            self._told(share)

    def _others(self, claims: Mapping[str, str]) -> dict[str, float]:
        """The part of the cluster that each other search on it would take."""
        here = {s: json.loads(said) for s, said in claims.items() if s != self._study}
        here = {s: claim for s, claim in here.items() if claim["cluster"] == self._cluster}
        if not here:  # the usual case
            return {}
        holders, heard = self._store.everywhere(HOLDER), self._store.everywhere(HEARD)
        found = {}
        for study, claim in here.items():
            if study not in holders:
                continue
            driver = Holder(**json.loads(holders[study]))
            # A driver that was killed leaves what it said behind; so does one that moved.
            if driver.id == claim["driver"] and driver.alive(float(heard.get(study, 0.0))):
                found[study] = float(claim["part"])
        return found
