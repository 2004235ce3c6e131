"""What the terminal says of configurations that ran at several seeds."""

from dataclasses import replace

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

from autopeft.domain.results.front import front
from autopeft.orchestrator.session import StudySession
from autopeft.terminal import against_baselines, trial_row, trial_table

SPEC = study_spec(trials=6)


def trials():
    store = MemoryStore()
    store.create(record_of(SPEC))
    problem, sampler = fake_problem(SPEC), RandomSampler()
    session = StudySession(SPEC, problem=problem, store=store, sampler=sampler, clock=lambda: 0.0)
    drive(session, FakeEvaluator())
    return list(store.history(SPEC.name))


def another(trial, number, less):
    rung = trial.rungs[-1]
    metrics = {**rung.metrics, "accuracy": rung.metrics["accuracy"] - less}
    return replace(trial, number=number, seed=1, rungs=(replace(rung, metrics=metrics),))


def printed(table):
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_a_front_without_replicates_is_printed_as_the_trials_are():
    told = trials()
    text = printed(trial_table(SPEC.objectives, front(SPEC.objectives, (), told), among=told))
    assert "seeds" not in text
    assert "±0.010" in text


def test_a_row_shows_how_many_seeds_its_mean_is_of():
    told = trials()
    best = front(SPEC.objectives, (), told)[0]
    both = [*told, another(best, 6, 0.01)]
    members = front(SPEC.objectives, (), both)
    mean = next(t for t in members if t.number == best.number)
    text = printed(trial_table(SPEC.objectives, members, among=both))
    assert "2 seeds)" in text
    # One pair half a told error to each side: v = (4 + 0.5) / 5 of the told variance.
    assert "±0.007" in text
    row = trial_row(mean, SPEC.objectives, both)
    assert (row["trial"], row["seed"], row["seeds"]) == (best.number, 0, 2)
    assert row["objectives"]["accuracy"] == mean.metrics["accuracy"] < best.metrics["accuracy"]


def test_what_the_model_believes_stands_beside_what_was_measured():
    told = trials()
    members = front(SPEC.objectives, (), told)
    rung = members[0].rungs[-1]
    believed = replace(members[0], rungs=(replace(rung, metrics={"accuracy": 0.4321}),))
    table = trial_table(SPEC.objectives, members[:1], among=told, believed=[believed])
    text = printed(table)
    assert "accuracy, model" in text
    assert "adapter_params, model" not in text
    assert "0.4321" in text
    assert f"{members[0].metrics['accuracy']:.4g}" in text


def test_a_baseline_is_compared_by_its_mean():
    told = trials()
    house = max((t for t in told if t.baseline), key=lambda t: t.metrics["accuracy"])
    both = [*told, another(house, 6, 0.02)]
    before = against_baselines(SPEC, told, front(SPEC.objectives, (), told))
    after = against_baselines(SPEC, both, front(SPEC.objectives, (), both))
    assert before != after
    assert "better than baseline house's" in after


def test_a_baseline_that_nothing_is_better_than_is_said_to_be_that():
    told = [trial for trial in trials() if trial.baseline]
    best = max(told, key=lambda t: t.metrics["accuracy"])
    assert against_baselines(SPEC, told, front(SPEC.objectives, (), told)) == (
        f"Nothing on the front has a better accuracy than house: {best.metrics['accuracy']:.4g}."
    )
