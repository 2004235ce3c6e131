"""What the neighbours of a choice cost and save, in a sentence."""

from dataclasses import replace

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.objective import Metric, Objective
from autopeft.domain.results.figures import amount
from autopeft.domain.results.pick import parse_when, pick
from autopeft.domain.results.prices import difference, neighbours, prices
from autopeft.domain.trial import Rung, State, Trial

ACCURACY = Objective("accuracy", "maximize")
LOSS = Objective("eval_loss", "minimize")
MEMORY = Objective("peak_memory_gib", "minimize")
PARAMS = Objective("adapter_params", "minimize", scale="log")
SPEED = Objective("tokens_per_second", "maximize")


def trial(number, **metrics):
    configuration = Configuration("b", Architecture(), {"learning_rate": number})
    rung = Rung(0, 1, metrics)
    return Trial(number, configuration, 0, {}, {}, state=State.COMPLETED, rungs=(rung,))


MEMBERS = (
    trial(1, accuracy=0.900, peak_memory_gib=9.1, adapter_params=4000.0),
    trial(2, accuracy=0.896, peak_memory_gib=6.2, adapter_params=900.0),
    trial(3, accuracy=0.880, peak_memory_gib=6.0, adapter_params=1200.0),
)


def test_more_quality_has_its_price_and_less_its_saving():
    assert prices((ACCURACY, MEMORY), MEMBERS, MEMBERS[1]) == (
        "0.4 points more accuracy would cost 2.9 GiB of peak_memory_gib (trial 1). "
        "Giving up 1.6 points of accuracy would save 0.2 GiB of peak_memory_gib (trial 3)."
    )


def test_a_neighbour_may_cost_in_one_objective_and_save_in_another():
    said = prices((ACCURACY, PARAMS, MEMORY), MEMBERS, MEMBERS[1])
    assert "cost 3,100 adapter_params and 2.9 GiB of peak_memory_gib (trial 1)" in said
    assert "cost 300 adapter_params and save 0.2 GiB of peak_memory_gib (trial 3)" in said


def test_the_directions_are_those_of_the_goals():
    members = [
        trial(1, eval_loss=0.5, tokens_per_second=100.0),
        trial(2, eval_loss=0.4, tokens_per_second=80.0),
    ]
    assert prices((LOSS, SPEED), members, members[0]) == (
        "0.1 less eval_loss would cost 20 tokens/s of tokens_per_second (trial 2)."
    )
    assert prices((LOSS, SPEED), members, members[1]) == (
        "Nothing on the front has a better eval_loss. "
        "Giving up 0.1 of eval_loss would save 20 tokens/s of tokens_per_second (trial 1)."
    )


def test_a_metric_of_one_s_own_has_its_own_unit_whatever_others_of_its_name_have():
    per_cent = Objective("accuracy", "maximize", own=True)
    minutes = Objective("train_seconds", "minimize", unit="min", own=True)
    assert (difference(per_cent, 1.0), amount(per_cent, 82.0)) == ("1", "82")
    assert (difference(minutes, 4000.0), amount(minutes, 19000.0)) == ("4,000 min", "19,000")
    assert (difference(ACCURACY, 1.0), amount("train_seconds", 19000.0)) == (
        "100 points",
        "19,000 s",
    )


def test_an_error_stands_beside_the_difference_that_it_is_of():
    members = [
        replace(m, rungs=(replace(m.rungs[0], stderr={"accuracy": 0.003}),)) for m in MEMBERS
    ]
    assert "0.4 points (s.e. 0.42) more accuracy" in prices((ACCURACY, MEMORY), members, members[1])
    (better, worse) = neighbours((ACCURACY, MEMORY), members, members[1])
    assert (better.trial, better.better, worse.trial, worse.better) == (1, True, 3, False)
    assert round(better.error, 6) == round(0.003 * 2**0.5, 6)


def test_what_a_limit_keeps_away_has_a_price_too():
    chosen = pick((ACCURACY, MEMORY), (), MEMBERS, when=parse_when("peak_memory_gib <= 7"))
    assert chosen.trial.number in (2, 3)
    best = pick(
        (ACCURACY, MEMORY), (), MEMBERS, when=parse_when("peak_memory_gib <= 7"), prefer="accuracy"
    )
    assert "Beyond the limit, 0.4 points more accuracy would cost 2.9 GiB" in best.reason


def test_nobody_beside_has_no_price():
    assert prices((ACCURACY, MEMORY), MEMBERS[:1], MEMBERS[0]) == ""
    assert prices((ACCURACY,), MEMBERS, MEMBERS[1]) == ""


def test_a_difference_has_its_unit():
    assert difference(ACCURACY, -0.0123) == "1.2 points"
    assert difference(PARAMS, 66048) == "66,048"
    assert difference(MEMORY, 2.94) == "2.94 GiB"
    assert difference(Objective("size", "minimize", unit="MB"), 3.0) == "3 MB"


def test_a_pick_has_its_neighbours_within_the_limits_and_takes_declared_metrics():
    members = [replace(m, rungs=(replace(m.rungs[0], metrics={**m.metrics, "lat": 9.0 - i}),))
               for i, m in enumerate(MEMBERS)]  # fmt: skip
    goals = (ACCURACY, MEMORY)
    chosen = pick(goals, (), members, when=parse_when("peak_memory_gib <= 7"), prefer="accuracy")
    assert chosen.trial.number == 2
    assert [(n.trial, n.better) for n in chosen.beside] == [(3, False)]
    declared = {"lat": Metric("lat", "ms", "minimize", False, "a latency")}
    quick = pick(goals, (), members, prefer="lat", declared=declared)
    assert quick.trial.number == 3
    assert ", lat 7 ms" in quick.reason
