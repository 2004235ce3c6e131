"""The front as a plot of characters."""

from dataclasses import replace

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.objective import Objective
from autopeft.domain.trial import Rung, State, Trial
from autopeft.views.plot import front_plot

ACCURACY = Objective("accuracy", "maximize")
LOSS = Objective("eval_loss", "minimize")
PARAMS = Objective("adapter_params", "minimize", scale="log")


def trial(number, quality, params, *, metric="accuracy", baseline=False):
    configuration = Configuration("b", Architecture(), {"learning_rate": number})
    rung = Rung(0, 1, {metric: quality})
    known = {"adapter_params": params}
    return Trial(
        number, configuration, 0, {}, known, baseline=baseline, state=State.COMPLETED, rungs=(rung,)
    )


def drawn(objectives, members, others=(), *, width=50, height=9):
    text = front_plot(objectives, members, others, width=width, height=height)
    lines = text.plain.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == height
    return lines


def test_better_is_up_and_a_logarithm_is_one():
    lines = drawn(
        (ACCURACY, PARAMS), [trial(0, 0.9, 10_000), trial(1, 0.8, 1000), trial(2, 0.5, 100)]
    )
    assert lines[0].startswith("accuracy")
    marks = [(i, line.index("●")) for i, line in enumerate(lines[1:-2]) if "●" in line]
    (top, right), (middle, between), (bottom, left) = marks
    assert (top, bottom) == (0, 5)
    assert left < between < right
    assert abs((right - between) - (between - left)) <= 1  # equal steps of the logarithm
    assert lines[1].startswith("0.9 ┤")
    assert lines[-3].startswith("0.5 ┤")
    assert lines[-1].split() == ["100", "adapter_params", "(log)", "10,000"]


def test_a_loss_is_drawn_with_the_least_on_top():
    lines = drawn(
        (LOSS, PARAMS),
        [trial(0, 0.2, 1000, metric="eval_loss"), trial(1, 0.7, 100, metric="eval_loss")],
    )
    assert lines[1].startswith("0.2 ┤")
    assert lines[-3].startswith("0.7 ┤")


def test_what_diverged_lies_below_and_does_not_press_the_front():
    members = [trial(0, 0.90, 1000), trial(1, 0.80, 100)]
    lines = drawn((ACCURACY, PARAMS), members, [trial(2, 0.1, 300), trial(3, 0.85, 1000)])
    assert "▾ below" in lines[0]
    assert "▾" in lines[-3]
    assert lines[-3].startswith("0.8 ┤")


def test_a_baseline_is_marked_on_the_front_and_behind_it():
    members = [trial(0, 0.90, 1000, baseline=True), trial(1, 0.80, 100)]
    lines = drawn((ACCURACY, PARAMS), members, [trial(2, 0.85, 5000, baseline=True)])
    assert sum(line.count("◆") for line in lines[1:]) == 2
    assert "◆ baseline" in lines[0]


def test_one_objective_is_drawn_by_trial_and_three_without_stairs():
    lines = drawn((ACCURACY,), [trial(7, 0.9, 10)], [trial(3, 0.5, 10)])
    assert lines[-1].split() == ["3", "trial", "7"]
    members = [trial(0, 0.9, 1000), trial(1, 0.8, 100)]
    three = drawn(
        (ACCURACY, PARAMS, Objective("adapter_bytes", "minimize")),
        [replace(m, known={**m.known, "adapter_bytes": 1.0}) for m in members],
    )
    assert not any("╯" in line for line in three)


def test_what_is_not_positive_has_no_place_on_a_log_scale():
    lines = drawn((ACCURACY, PARAMS), [trial(0, 0.9, 1000), trial(1, 0.8, 0)])
    assert sum(line.count("●") for line in lines[1:]) == 1


def test_nothing_is_drawn_without_room_or_front():
    members = [trial(0, 0.9, 1000)]
    assert front_plot((ACCURACY, PARAMS), members, (), width=20, height=9) is None
    assert front_plot((ACCURACY, PARAMS), members, (), width=60, height=5) is None
    assert front_plot((ACCURACY, PARAMS), (), members, width=60, height=9) is None
