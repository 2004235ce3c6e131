"""The view of a search or a confirmation as it runs: a live panel on a terminal, lines elsewhere.

The panel is drawn by a thread of rich's, which holds a lock of its own meanwhile. So the view asks
the session for nothing while it draws, whose lock may be held by who waits for the console: it
keeps the trials that it is told of.
"""

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from autopeft.domain.networks.describe import describe
from autopeft.domain.results.figures import amount
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.orchestrator.confirm_session import ConfirmSession
from autopeft.orchestrator.session import StudySession
from autopeft.terminal import clock, talk
from autopeft.views.panel import Moment, Panel
from autopeft.views.standing import Standing, standing

_PER_SECOND = 2


class LiveView:
    """Use: `with view.watch(session): run()`, with `view.changed` among the session's listeners.

    Threads: `changed` may be called from any; `pausing` from a signal handler.

    Args:
        local: whether trials run in this process, where a rung cannot be left half-way.
        clock_s: seconds, for what has passed.
    """

    def __init__(
        self,
        spec: StudySpec,
        *,
        quiet: bool = False,
        local: bool = False,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._quiet = quiet
        self._local = local
        self._clock = clock_s
        self._began = clock_s()
        self._elapsed: Callable[[], float] = lambda: 0.0
        self._confirming = False
        self._stop = threading.Event()
        self._lock = threading.Lock()  # of the fields below; held for no other call
        self._trials: dict[int, Trial] = {}
        self._since: dict[int, float] = {}
        self._ended = self._changes = 0
        self._standing: Standing | None = None
        self._open = ExitStack()
        self._live = False

    def watch(self, session: StudySession, stop: threading.Event | None = None) -> "LiveView":
        """stop: what pauses the search, which `autopeft stop` sets from elsewhere too."""
        self._stop = stop or self._stop
        self._confirming = isinstance(session, ConfirmSession)
        self._elapsed = lambda: session.wall_seconds
        self._trials = {trial.number: trial for trial in session.trials}
        now = self._clock()
        self._since = {t.number: now for t in session.trials if t.state is State.RUNNING}
        return self

    def __enter__(self) -> "LiveView":
        # Where the cursor cannot go back, a panel would be printed twice a second.
        self._live = talk.is_terminal and not talk.is_dumb_terminal and not self._quiet
        if self._live:
            live = Live(
                get_renderable=self.drawn,
                console=talk,
                refresh_per_second=_PER_SECOND,
                transient=True,
            )
            before = sys.stderr
            # What the next release of a library will change is nothing to tear a panel for.
            self._open.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", FutureWarning)
            self._open.enter_context(live)
            self._open.enter_context(_above(before))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._live = False

    def changed(self, trial: Trial) -> None:
        """Told of every trial that changed; prints a line where there is no live view."""
        with self._lock:
            before = self._trials.get(trial.number)
            self._trials[trial.number] = trial
            self._standing, self._changes = None, self._changes + 1
            if trial.state is State.RUNNING:
                self._since[trial.number] = self._clock()
            else:
                self._since.pop(trial.number, None)
                self._ended += before is None or not before.rungs  # a later rung is no other trial
        if not self._live and not self._quiet and trial.state is not State.RUNNING:
            talk.print(Text(self._line(trial)), soft_wrap=True)

    def pausing(self) -> None:
        """Say that Ctrl-C was heard; from a signal handler, so nothing of rich's is called."""
        if not self._live:
            os.write(
                sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\n{self._heard}\n".encode()
            )

    def drawn(self) -> RenderableType:
        """The panel as it stands now."""
        with self._lock:
            since, ended, found = dict(self._since), self._ended, self._standing
            trials = tuple(self._trials[number] for number in sorted(self._trials))
            changes = self._changes
        if found is None:
            found = standing(self._spec, trials, None, confirming=self._confirming)
            with self._lock:
                if changes == self._changes:
                    self._standing = found
        now = self._clock()
        moment = Moment(
            elapsed=self._elapsed(),
            ended=ended,
            since=now - self._began,
            ran={number: now - began for number, began in since.items()},
            state=self._state(found),
        )
        return Panel(self._spec, found, moment)

    def _state(self, found: Standing) -> str:
        if self._stop.is_set():
            return self._heard
        if found.running:
            return "confirming" if self._confirming else "searching"
        return "choosing what to try next" if found.ended else "starting"

    @property
    def _heard(self) -> str:
        if self._local:
            return "pausing when this rung ends; Ctrl-C again: at once"
        return "pausing; Ctrl-C again: at once"

    def _line(self, trial: Trial) -> str:
        at = clock(self._clock() - self._began)
        head = f"[{at}] trial {trial.number} {trial.state}: {describe(trial.configuration)}"
        if trial.failure is not None:
            return f"{head}: {trial.failure.reason}: {trial.failure.message}"
        values = ", ".join(
            f"{o.metric} {amount(o, trial.metrics[o.metric])}" for o in self._spec.objectives
        )
        return f"{head}: {values}"


@contextmanager
def _above(before: object) -> Iterator[None]:
    """Let what is logged stand above the panel, which it would tear.

    before: the stderr that handlers hold; rich has put one of its own in its place.
    """
    moved = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is before
    ]
    for handler in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(before)
