"""The panel of a study: what it says, and that it fits whatever terminal it is shown in."""

from dataclasses import replace
from io import StringIO

import pytest
from explored import EVIL, explored_spec, explored_trials, hostile
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

from autopeft.domain.study import Confirm, Rungs
from autopeft.domain.trial import Failure, FailureReason, State
from autopeft.orchestrator.confirm_session import ConfirmSession, begin
from autopeft.orchestrator.session import StudySession
from autopeft.views.panel import Moment, Panel
from autopeft.views.standing import seconds_left, shares, standing

SPEC = explored_spec()
TRIALS = explored_trials()


def shown(spec, now, moment, *, width=80, height=24):
    console = Console(width=width, height=height, file=StringIO())
    with console.capture() as captured:
        console.print(Panel(spec, now, moment))
    return captured.get().rstrip("\n").splitlines()


def running(count):
    begun = [replace(t, state=State.RUNNING, failure=None) for t in TRIALS[-count:]]
    return [*TRIALS[:-count], *begun]


@pytest.mark.parametrize("trials", [TRIALS, running(6), hostile(TRIALS), TRIALS[:1], []])
def test_the_panel_fits_its_terminal(trials):
    moment = Moment(4000.0, ended=9, since=900.0, ran={t.number: 5.0 for t in trials})
    now = standing(SPEC, trials, None)
    for width in (30, 40, 56, 72, 80, 116, 200):
        for height in (12, 24, 50):
            lines = shown(SPEC, now, moment, width=width, height=height)
            assert max(map(len, lines)) <= width
            if width >= 72 and height >= 24:
                assert len(lines) < height


def test_80_columns_by_24_lines_hold_all_that_one_looks_for():
    spec = replace(SPEC, budget=replace(SPEC.budget, trials=80, wall_hours=2.0))
    moment = Moment(3600.0, ended=30, since=1800.0, ran={58: 75.0})
    lines = shown(spec, standing(spec, running(3), None), moment)
    text = "\n".join(lines)
    assert lines[0].startswith("films  searching")
    assert lines[0].endswith("1:00:00 elapsed")
    assert "57 of 80 trials, 1 of 2 hours, about 23:00 left" in text
    assert "paused at a rung" in text
    assert "CPU hours spent, about" in text
    assert "saved by stopping early" in text
    assert "01:15 of ~00:40" in text  # trial 58, beside what its rung takes others
    assert "failed by out_of_memory, last trial" in text
    assert "Hypervolume 0." in text
    assert "● front" in text
    assert "adapter_params (log)" in text
    assert any(line.split()[:1] == ["front"] for line in lines)


def test_a_hostile_name_is_only_text():
    trials = hostile(running(3))
    lines = shown(SPEC, standing(SPEC, trials, None), Moment(1.0), width=200, height=60)
    assert any(EVIL[:20] in line or "lora" in line for line in lines)


def test_a_trial_that_goes_on_shows_its_rung_and_what_it_had():
    trials = list(TRIALS)
    paused = next(t for t in trials if t.state is State.PAUSED)
    trials[paused.number] = paused.promoted()
    text = "\n".join(shown(SPEC, standing(SPEC, trials, None), Moment(1.0)))
    assert "2/2 to its end" in text
    assert f"{paused.metrics['accuracy']:.4g}" in text


def test_a_confirmation_shows_its_runs_and_the_means_so_far():
    spec = study_spec(trials=8, rungs=Rungs("epochs", (1.0,)), confirm=Confirm(seeds=2))
    store = MemoryStore()
    store.create(record_of(spec))

    def opened(kind):
        problem, sampler = fake_problem(spec), RandomSampler()
        return kind(spec, problem=problem, store=store, sampler=sampler, clock=lambda: 0.0)

    drive(opened(StudySession), FakeEvaluator())
    left = begin(spec, Confirm(seeds=2), store, now=0.0)
    session = opened(ConfirmSession)
    drive(session, FakeEvaluator(), limit=1)
    session.ask()
    now = standing(spec, session.trials, None, confirming=True)
    text = "\n".join(shown(spec, now, Moment(60.0, state="confirming")))
    assert f"1 of {left} runs" in text
    assert "1 of 2" in text
    assert "of trial" in text  # the run under way names what it confirms
    assert "searched" in text


def test_every_budget_has_its_share_and_the_nearest_end_counts():
    spec = study_spec(trials=20, gpu_hours=1.0, wall_hours=3.0)
    trials = [
        replace(t, failure=Failure(FailureReason.ERROR, "x"), state=State.FAILED)
        for t in TRIALS[:5]
    ]
    now = standing(spec, trials, None)
    found = shares(spec, now, 3600.0)
    assert [(s.unit, s.limit) for s in found] == [
        ("trials", 20),
        ("CPU hours", 1.0),
        ("hours", 3.0),
    ]
    assert found[0].used == 5
    assert shares(spec, replace(now, confirmations=3), 3600.0)[0].used == 8
    assert seconds_left(spec, now, 3600.0, ended=5, since=500.0) == 1500.0  # of the trials
    assert round(seconds_left(spec, now, 10000.0, ended=5, since=5000.0)) == 800  # of the clock
    assert seconds_left(study_spec(trials=20), now, 1.0, ended=2, since=1.0) is None  # too few
    assert seconds_left(study_spec(trials=5), now, 1.0, ended=5, since=1.0) is None  # the end
