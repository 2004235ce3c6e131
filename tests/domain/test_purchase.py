"""What a budget buys, counted by hand."""

from dataclasses import replace

import pytest
from fakes import study_spec

from autopeft.domain.budget.purchase import purchase, share_of_run
from autopeft.domain.study import Budget, Confirm, Resources, Rungs


@pytest.mark.parametrize(
    ("rungs", "epochs", "steps", "share"),
    [
        (None, 3, 100, 1.0),
        (Rungs("epochs", (1.0,), 3.0), 3, 100, 1 / 3 + (2 / 3) / 3),
        (Rungs("epochs", (1.0, 2.0), 2.0), 4, 100, 0.25 + 0.125 + 0.125),
        (Rungs("epochs", (1.0, 3.0), 3.0), 3, 100, 1 / 3 + (2 / 3) / 3),  # the run ends at 3
        (Rungs("steps", (10,), 4.0), 3, 100, 0.1 + 0.9 / 4),
        (Rungs("steps", (100,), 4.0), 3, 50, 1.0),  # the run ends before the rung
    ],
)
def test_a_trial_takes_what_the_rungs_leave_of_it(rungs, epochs, steps, share):
    assert share_of_run(rungs, steps=steps, epochs=epochs) == pytest.approx(share)


def spec_of(**changes):
    rungs = Rungs("epochs", (1.0,), 3.0)
    spec = study_spec(trials=30, rungs=rungs)
    return replace(spec, search=replace(spec.search, parallel=4), **changes)


def test_trials_hours_and_money():
    spec = spec_of(resources=Resources(cpus_per_trial=2, price_per_hour=1.5))
    parties = len(spec.space.branches)
    found = purchase(spec, [60.0] * (parties - 1) + [120.0])
    each = (60 * (parties - 1) + 120) / parties
    assert (found.trials, found.ends_by, found.confirming) == (30, "trials", None)
    assert found.baselines == len(spec.space.baselines) * (30 // parties)
    assert found.finished == 10
    assert found.work_hours == pytest.approx(30 * each / 3600)
    assert found.wall_hours == pytest.approx(found.work_hours * 8 / 30)  # eight rounds of four
    assert found.device_hours == pytest.approx(2 * found.work_hours)
    assert found.cost == pytest.approx(1.5 * found.device_hours)


@pytest.mark.parametrize(
    ("budget", "trials", "ends_by"),
    [
        (Budget(gpu_hours=1.0), 30, "gpu_hours"),  # 60 s on two devices each
        (Budget(wall_hours=0.25), 60, "wall_hours"),  # four at a time
        (Budget(trials=10, gpu_hours=1.0, wall_hours=0.25), 10, "trials"),
        (Budget(trials=90, gpu_hours=9.0, wall_hours=0.25), 60, "wall_hours"),
        (Budget(gpu_hours=0.001), 1, "gpu_hours"),  # a trial that began goes on
    ],
)
def test_the_first_limit_ends_it(budget, trials, ends_by):
    spec = spec_of(budget=budget, resources=Resources(gpus_per_trial=2))
    found = purchase(spec, [60.0] * len(spec.space.branches))
    assert (found.trials, found.ends_by) == (trials, ends_by)


def test_a_confirmation_takes_its_part_and_own_code_tells_no_hours():
    spec = spec_of(confirm=Confirm(seeds=2))
    found = purchase(spec, None)
    assert found.confirming == 2 * (1 + len(spec.space.baselines))
    assert found.finished == round((30 - found.confirming) / 3)
    assert (found.work_hours, found.device_hours, found.cost) == (None, None, None)
    hours = replace(spec, budget=Budget(wall_hours=1.0))
    assert (purchase(hours, None).trials, purchase(hours, None).ends_by) == (None, "")


def test_what_confirms_trains_to_the_end_whatever_rungs_save():
    spec = spec_of(confirm=Confirm(seeds=2))
    parties = len(spec.space.branches)
    found = purchase(spec, [60.0] * parties, [180.0] * parties)
    c = found.confirming
    assert found.work_hours == pytest.approx((60 * (30 - c) + 180 * c) / 3600)
    hours = replace(spec, budget=Budget(gpu_hours=found.work_hours))
    assert purchase(hours, [60.0] * parties, [180.0] * parties).trials in (29, 30)  # it rounds down
    short = replace(spec, budget=Budget(gpu_hours=180 * (c - 1) / 3600))
    assert purchase(short, [60.0] * parties, [180.0] * parties).trials == c - 1


@pytest.mark.parametrize("cap", [1, 100])
def test_the_trials_that_a_file_gives_a_confirmation_are_its_most(cap):
    spec = spec_of(confirm=Confirm(seeds=2, trials=cap))
    least = 2 * (1 + len(spec.space.baselines))
    assert purchase(spec, None).confirming == min(cap, least)
