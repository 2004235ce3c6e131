"""Every rule of a study: what runs next, what a result means, what is remembered.

    segment = session.ask()            # what to run next, or None
    session.tell(segment, result)      # committed to the store before it returns

No framework is known here: a `for` loop can drive a session, and so can Ray Tune, or whoever runs
trials by other means. The store is the only memory: a session made from the same store goes on
where the last one ended, and what it finds running it hands out again.

`history` holds the trials and commits them, `promoter` says which paused trial goes on, `proposer`
what else is tried, `segments` what one run is and what it makes of its trial, `sharing` what runs
alone, `outages` what runs again, `limits`, `stopping` and `giving_up` when it is over, `events`
what is shown. What confirms a front (`confirm_session`) the search neither sees nor runs; it leaves
it its budget.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from autopeft.domain.ports import Problem, Sampler, Store
from autopeft.domain.results.front import front, normalised_hypervolume
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, Result, Segment, State, Trial
from autopeft.orchestrator import events, giving_up
from autopeft.orchestrator.history import History
from autopeft.orchestrator.limits import Limits
from autopeft.orchestrator.outages import Outages
from autopeft.orchestrator.promoter import Promoter
from autopeft.orchestrator.proposer import Proposer
from autopeft.orchestrator.segments import after, segment_of
from autopeft.orchestrator.sharing import Sharing
from autopeft.orchestrator.stopping import enough
from autopeft.orchestrator.wire import without_secrets


class StudySession:
    """One study, driven by ask and tell.

    Threads: every method may be called from any thread. `ask` may take as long as the sampler
    does; call `prepare` from a background thread to have the next suggestion ready.

    Args:
        clock: seconds since the epoch.
        listeners: called with every trial that changed, after its commit.
        suggested: called with the seconds that a proposal took.
    """

    def __init__(
        self,
        spec: StudySpec,
        *,
        problem: Problem,
        store: Store,
        sampler: Sampler,
        clock: Callable[[], float],
        listeners: Sequence[Callable[[Trial], None]] = (),
        suggested: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.spec = spec
        self._store = store
        self._promoter = Promoter(spec, problem, sampler)
        self._proposer = Proposer(spec, problem, sampler)
        self._clock = clock
        self._suggested = suggested
        self._lock = threading.RLock()
        self._suggesting = threading.Lock()
        self._history = History(spec, store, clock=clock, listeners=listeners)
        self._limits = Limits(spec, self._history)
        self._handed_out: set[int] = set()
        self._began: dict[int, float] = {}
        self._sharing = Sharing(spec.resources)
        self._outages = Outages()
        self._opened = clock()
        self._spent_before = store.study(spec.name).seconds

    # -- what a driver calls ---------------------------------------------------------------

    def ask(self) -> Segment | None:
        """The next segment to run; None: nothing to start before a running one is told."""
        while (segment := self.ask_ready()) is None and (self._undecided or self._may_start):
            with self._lock:
                if self._sharing.waits(self._handed_out):
                    return None
            self.prepare()
        return segment

    def ask_ready(self) -> Segment | None:
        """Like `ask`, but never waits for the sampler: None also while nothing is prepared."""
        with self._lock:
            if self._sharing.waits(self._handed_out):
                return None
            if (segment := self._next_ready()) is not None:
                self._sharing.started(self._handed_out)
            return segment

    def prepare(self) -> None:
        """Have the next decision ready; returns at once when it is or none is needed.

        That is which paused trial goes on, where one may; else the next suggestion.
        """
        with self._suggesting:
            with self._lock:
                history, closing = self.searched, not self._may_start
                timely = not self._out_of_time
            if timely and self._promoter.undecided(history, closing=closing):
                self._promoter.decide(history, closing=closing)
                return
            with self._lock:
                if self._proposer.ready is not None or not self._may_start:
                    return
                history = self.searched
            began = self._clock()
            self._proposer.prepare(history)
            self._suggested(self._clock() - began)

    def tell(self, segment: Segment, result: Result | Failure) -> bool:
        """Record a segment's result.

        Memory that ran out beside other trials on a device is not recorded: the segment is handed
        out again when nothing else runs. Nor is a failure of the machines: see `outages`.

        Returns:
            False where it came too late: the segment was told already.

        Raises:
            StudyError: the machines fail every segment; the study can be resumed.
        """
        result = without_secrets(result)
        with self._lock:
            trial = self._history[segment.trial]
            self._handed_out.discard(segment.trial)
            alone = self._sharing.ended(segment.trial)
            if trial.state is not State.RUNNING or trial.next_rung != segment.rung:
                return False
            if self._sharing.repeats(segment.trial, result, alone=alone):
                return True
            if self._outages.repeats(segment, result):
                return True
            if isinstance(result, Result):
                result = replace(result, provenance={**result.provenance, "alone": alone})
            else:  # what failed tells no time, and has used the devices all the same
                now = self._clock()
                took = max(0.0, now - self._began.get(segment.trial, now))
                result = replace(result, seconds=took)
            told = after(self.spec, trial, segment, result)
            self._history.put(told, events.told(told, now=self._clock()))
            if self.spec.budget.wall_hours is not None:  # a killed driver's hours count too
                self._keep_hours()
            return True

    def report(self, segment: Segment, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Remember a piece of learning curve: (step, metrics) pairs.

        A trial whose checkpoint is gone starts from its beginning: what its rungs told already is
        left out.
        """
        with self._lock:
            rungs = self._history[segment.trial].rungs
        told = rungs[-1].step if rungs else -1
        if points := [point for point in points if point[0] > told]:
            event = events.curve(segment.trial, points, now=self._clock())
            self._store.commit(self.spec.name, [], [event])

    def release(self, segment: Segment) -> None:
        """Give back a segment whose worker was lost: it is handed out again."""
        with self._lock:
            self._handed_out.discard(segment.trial)

    def close(self) -> None:
        """Record the time spent and whether the study is over."""
        with self._lock:
            # Who mends what every trial failed at may go on.
            over = self.finished and not self.hopeless
            self._close("finished" if over else "paused", self.stopped)

    def _keep_hours(self, state: str | None = None) -> None:
        """Store the time spent, and the state where there is a new one."""
        record = self._store.study(self.spec.name)
        seconds = self.wall_seconds
        self._store.update(replace(record, state=state or record.state, seconds=seconds))

    def _close(self, state: str, why: str | None) -> None:
        with self._lock:
            self._keep_hours(state)
            now = self._clock()
            ended = [events.front_moved(self._history.leading, now=now)]
            ended.append(events.study_ended(state, now=now, why=why))
            self._store.commit(self.spec.name, [], ended)

    # -- what is to be seen ----------------------------------------------------------------

    @property
    def trials(self) -> tuple[Trial, ...]:
        with self._lock:
            return self._history.all

    @property
    def searched(self) -> tuple[Trial, ...]:
        """The trials of the search: all that it decides by."""
        with self._lock:
            return self._history.searched

    @property
    def running(self) -> tuple[Segment, ...]:
        with self._lock:
            return tuple(segment_of(self.spec, t) for t in self.trials if t.state is State.RUNNING)

    @property
    def finished(self) -> bool:
        """Nothing runs, and nothing will be asked for again."""
        with self._lock:
            own = self.searched
            if self._may_start or any(t.state is State.RUNNING for t in own):
                return False
            return self._out_of_time or not self._promoter.contenders(own, closing=True)

    @property
    def stopped(self) -> str | None:
        """Why `search.stop` ends the search; None as long as it does not.

        A baseline that is due has its turn before: they get the trials of a branch, whenever it is.
        """
        with self._lock:
            trials = self.searched
            said = enough(self.spec, trials)
            if said and self._proposer.baseline_due(trials):
                return None
            return said

    @property
    def front(self) -> tuple[Trial, ...]:
        return front(self.spec.objectives, self.spec.constraints, self.trials)

    @property
    def kept(self) -> frozenset[int]:
        """The trials whose adapters stay as long as the study goes on; see `retention`."""
        with self._lock:
            return self._history.kept

    @property
    def hypervolume(self) -> float:
        return normalised_hypervolume(self.spec.objectives, self.spec.constraints, self.trials)

    @property
    def undecided(self) -> bool:
        """Whether more can start as soon as the sampler has spoken, without a result before."""
        with self._lock:
            if self._sharing.waits(self._handed_out):
                return False
            return self._undecided or self._may_start

    @property
    def wall_seconds(self) -> float:
        return self._spent_before + self._clock() - self._opened

    # -- the rules -------------------------------------------------------------------------

    @property
    def _out_of_time(self) -> bool:
        return self._limits.out_of_time(wall_seconds=self.wall_seconds)

    @property
    def _may_start(self) -> bool:
        """Whether another trial may be tried."""
        if self._proposer.exhausted or self._limits.out_of_trials or self._out_of_time:
            return False
        return not self.hopeless and self.stopped is None

    @property
    def hopeless(self) -> bool:
        """Every trial of this session failed by an error of the code, not of its configuration."""
        return self.given_up is not None

    @property
    def given_up(self) -> Failure | None:
        """The failure for which the study gives up; see `giving_up`."""
        return giving_up.hopeless(self.searched, since=self._opened)

    def _next_ready(self) -> Segment | None:
        if (segment := self._repeated() or self._interrupted() or self._promotion()) is not None:
            return segment
        if self._proposer.ready is None or not self._may_start:
            return None
        number = self._history.next_number
        trial = self._proposer.take().trial(number, created=self._clock())
        self._history.put(trial, [events.trial_started(trial)])
        return self._handed(trial)

    def _repeated(self) -> Segment | None:
        """What runs again alone; asked for when nothing runs, if anything is due."""
        if (number := self._sharing.due()) is None:
            return None
        return self._handed(self._history[number])

    def _interrupted(self) -> Segment | None:
        for trial in self.searched:
            if trial.state is State.RUNNING and trial.number not in self._handed_out:
                return self._handed(trial)
        return None

    @property
    def _undecided(self) -> bool:
        """Whether a paused trial may go on, and `prepare` has to say which."""
        with self._lock:
            return not self._out_of_time and self._promoter.undecided(
                self.searched, closing=not self._may_start
            )

    def _promotion(self) -> Segment | None:
        if self._out_of_time:
            return None
        trial = self._promoter.chosen(self.searched, closing=not self._may_start)
        if trial is None:
            return None
        promoted = trial.promoted()
        self._history.put(promoted)
        return self._handed(promoted)

    def _handed(self, trial: Trial) -> Segment:
        """A trial's next segment, which is handed out from now on."""
        self._handed_out.add(trial.number)
        self._began[trial.number] = self._clock()
        return segment_of(self.spec, trial)
