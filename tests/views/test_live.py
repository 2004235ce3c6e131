"""The view of a search as it runs: lines elsewhere, a panel on a terminal."""

import logging
import sys
import threading
from io import StringIO

import pytest
from fakes import (
    FakeEvaluator,
    MemoryStore,
    RandomSampler,
    drive,
    fake_problem,
    record_of,
    study_spec,
)
from rich.console import Console

from autopeft import terminal
from autopeft.domain.study import Rungs
from autopeft.orchestrator.session import StudySession
from autopeft.views import live
from autopeft.views.live import LiveView

SPEC = study_spec(trials=6, rungs=Rungs("epochs", (1.0, 3.0)))


@pytest.fixture
def talk(monkeypatch):
    """talk(terminal) puts a console in stderr's place, and returns it."""

    def put(*, terminal, **more):
        console = Console(file=StringIO(), force_terminal=terminal, width=80, height=24, **more)
        monkeypatch.setattr(live, "talk", console)
        return console

    return put


def opened(view, evaluator=None):
    store = MemoryStore()
    store.create(record_of(SPEC))
    return StudySession(
        SPEC,
        problem=fake_problem(SPEC),
        store=store,
        sampler=RandomSampler(),
        clock=lambda: 0.0,
        listeners=(view.changed,),
    )


def test_elsewhere_every_result_is_a_line_and_nothing_else(talk):
    console = talk(terminal=False)
    view = LiveView(SPEC, clock_s=lambda: 75.0)
    session = opened(view)
    with view.watch(session):
        drive(session, FakeEvaluator(fail_above=5e-3))
    lines = console.file.getvalue().splitlines()
    told = sum(len(t.rungs) + (t.failure is not None) for t in session.trials)
    assert len(lines) == told
    assert all(line.startswith("[00:00] trial ") for line in lines)
    assert any(" paused: " in line and "accuracy 0." in line for line in lines)
    assert any(": not_finite: loss is nan" in line for line in lines)
    assert "\x1b" not in console.file.getvalue()


@pytest.mark.parametrize("how", [{"quiet": True}, {"quiet": False}])
def test_quiet_says_nothing_and_a_dumb_terminal_gets_lines(talk, monkeypatch, how):
    monkeypatch.setenv("TERM", "dumb")
    console = talk(terminal=True)
    view = LiveView(SPEC, **how)
    session = opened(view)
    with view.watch(session):
        drive(session, FakeEvaluator())
    lines = console.file.getvalue().splitlines()
    assert (lines == []) == how["quiet"]
    assert not any("Hypervolume" in line for line in lines)


def test_on_a_terminal_the_panel_is_drawn_and_leaves_nothing_behind(talk, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    console = talk(terminal=True)
    view = LiveView(SPEC)
    session = opened(view)
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        with view.watch(session):
            drive(session, FakeEvaluator())
            logging.getLogger("autopeft").warning("a worker was lost")
    finally:
        logging.getLogger().removeHandler(handler)
    assert handler.stream is sys.stderr
    written = console.file.getvalue()
    assert "Hypervolume" in written
    assert "a worker was lost" in written  # above the panel, by its own console
    assert written.endswith("\x1b[2K")  # the panel's lines are taken back


def test_the_panel_says_what_goes_on_and_that_ctrl_c_was_heard(talk):
    now = 100.0
    view = LiveView(SPEC, local=True, quiet=True, clock_s=lambda: now)
    session = opened(view)
    stop = threading.Event()
    view.watch(session, stop)
    assert view.drawn().moment.state == "starting"
    segment = session.ask()
    now = 130.0
    panel = view.drawn()
    assert panel.moment.state == "searching"
    assert panel.moment.ran == {segment.trial: 30.0}
    session.tell(segment, FakeEvaluator().run(segment, print))
    panel = view.drawn()
    assert panel.moment.state == "choosing what to try next"
    assert (panel.moment.ran, panel.moment.ended, panel.moment.since) == ({}, 1, 30.0)
    stop.set()
    assert view.drawn().moment.state == "pausing when this rung ends; Ctrl-C again: at once"


def test_a_trial_that_goes_on_is_not_counted_twice(talk):
    view = LiveView(SPEC, quiet=True)
    session = opened(view)
    view.watch(session)
    drive(session, FakeEvaluator())
    assert sum(len(t.rungs) for t in session.trials) > len(session.trials)
    assert view.drawn().moment.ended == len(session.trials)


def test_what_ran_when_a_driver_died_is_shown_as_running(talk):
    before = LiveView(SPEC, quiet=True)
    session = opened(before)
    segment = session.ask()
    view = LiveView(SPEC, quiet=True)
    view.watch(session)
    assert [t.number for t in view.drawn().now.running] == [segment.trial]


def test_a_sentence_is_folded_on_a_terminal_and_one_line_elsewhere(monkeypatch):
    for there, lines in ((True, 2), (False, 1)):
        console = Console(file=StringIO(), force_terminal=there, width=40, color_system=None)
        monkeypatch.setattr(terminal, "out", console)
        terminal.say("a sentence [bold]with[/bold] more words than forty columns hold")
        assert len(console.file.getvalue().splitlines()) == lines
        assert "[bold]with" in console.file.getvalue()
