"""Everything about one trial, as text and as values."""

import json
from dataclasses import replace

from explored import explored_spec, explored_trials
from rich.console import Console

from autopeft.domain.architecture import Architecture
from autopeft.domain.objective import Metric
from autopeft.domain.results.front import front
from autopeft.domain.trial import Failure, FailureReason, State
from autopeft.views.sentences import failure_lines, saved_line
from autopeft.views.standing import standing
from autopeft.views.trial import place, trial_document, trial_view

SPEC = explored_spec()
TRIALS = explored_trials()
MEMBERS = front(SPEC.objectives, SPEC.constraints, TRIALS)
BEST = next(t for t in TRIALS if t.number == MEMBERS[0].number)


def text_of(trial, adapter, trials=TRIALS, width=80):
    document = trial_document(SPEC, trials, trial, adapter=adapter)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(trial_view(SPEC, trials, trial, document), highlight=False)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    return captured.get()


def test_a_trial_is_shown_with_all_that_is_known_of_it(tmp_path):
    (tmp_path / "adapter_model.safetensors").touch()
    text = text_of(BEST, tmp_path)
    for title in (
        *("why it was proposed", "architecture", "metrics", "rungs", "configuration"),
        *("provenance", "take it away"),
    ):
        assert f"\n{title}" in text
    assert f"trial {BEST.number} of films  completed, on the front" in text
    assert BEST.why in text
    assert "objective, maximize" in text
    assert "known before training" in text
    assert "1 of 2" in text
    assert "learning_rate" in text
    assert f"autopeft export films --trial {BEST.number} --to films-trial-{BEST.number}" in text
    assert text_of(BEST, tmp_path, width=40)


def test_a_failure_comes_with_its_traceback(tmp_path):
    failure = Failure(
        FailureReason.ERROR, "ValueError: [bold]no", 'File "train.py", line 3\n  [/x]'
    )
    trial = replace(BEST, state=State.FAILED, failure=failure, rungs=())
    trials = [trial if t.number == trial.number else t for t in TRIALS]
    text = text_of(trial, tmp_path, trials)
    assert "error: ValueError: [bold]no" in text
    assert "  [/x]" in text
    assert "Only completed trials can be exported" in text
    document = trial_document(SPEC, trials, trial, adapter=tmp_path)
    assert document["failure"]["traceback"] == failure.details
    assert document["export"] is None


def test_the_values_are_json_and_hold_the_row_of_the_front(tmp_path):
    document = json.loads(json.dumps(trial_document(SPEC, TRIALS, BEST, adapter=tmp_path)))
    assert document["trial"] == BEST.number
    assert document["place"] == "on the front"
    assert [rung["step"] for rung in document["rungs"]] == [rung.step for rung in BEST.rungs]
    assert document["params"]["learning_rate"] == BEST.configuration.recipe["learning_rate"]
    assert document["adapter"] is None
    assert document["configuration"] == json.loads(json.dumps(BEST.configuration.document()))


def test_where_a_trial_stands_is_said():
    places = {t.number: place(SPEC, TRIALS, t) for t in TRIALS}
    on = {number for number, text in places.items() if text == "on the front"}
    assert on == {t.number for t in MEMBERS}
    assert {t.number for t in TRIALS if places[t.number] == "failed"} == {
        t.number for t in TRIALS if t.state is State.FAILED
    }
    assert {t.number for t in TRIALS if places[t.number] == "stopped early at a rung"} == {
        t.number for t in TRIALS if t.state is State.PAUSED
    }
    assert places[TRIALS[-1].number].startswith("another seed of trial")
    assert any(text.startswith("behind trial") for text in places.values())
    strict = replace(SPEC, constraints=(*SPEC.constraints, _limit(BEST)))
    assert place(strict, TRIALS, BEST) == f"breaks {_limit(BEST).text}"


def _limit(trial):
    from autopeft.domain.objective import Constraint

    return Constraint.parse(f"accuracy <= {trial.metrics['accuracy'] - 0.001:.6f}")


def test_failures_are_told_by_reason_with_the_way_to_more():
    lines = failure_lines(SPEC, TRIALS)
    failed = [t.number for t in TRIALS if t.failure]
    assert lines[0].startswith(f"{len(failed)} failed by out_of_memory (trials {failed[0]}, ")
    assert lines[-1] == f"More of a failure: autopeft show films {failed[-1]}"
    assert failure_lines(SPEC, [BEST]) == []


def test_what_was_saved_is_told_where_it_is_known():
    said = saved_line(SPEC, standing(SPEC, TRIALS, None))
    paused = sum(t.state is State.PAUSED for t in TRIALS)
    assert said.startswith("About ")
    assert said.endswith(f"CPU hours saved by stopping {paused} trials early.")
    assert saved_line(SPEC, standing(SPEC, [BEST], None)) == ""


def test_whoever_is_judged_by_a_mean_is_said_to_be():
    """Its own run may be better than that of the trial that it is said to stand behind."""
    lucky = MEMBERS[0]
    rung = lucky.rungs[-1]
    fresh = replace(rung, metrics={**rung.metrics, "accuracy": 0.1}, ended=1e7)
    honest = MEMBERS[-1]
    level = replace(honest.rungs[-1], ended=1e7)
    trials = [
        *TRIALS,
        replace(BEST, number=64, seed=1000, confirms=lucky.number, rungs=(fresh,)),
        replace(honest, number=65, seed=1000, confirms=honest.number, rungs=(level,)),
    ]
    assert "by the mean of its 1 of 1 fresh seeds" in place(SPEC, trials, BEST)


def test_a_trial_of_bare_parameters_has_no_weights_to_keep(tmp_path):
    bare = replace(BEST.configuration, architecture=Architecture(), parameters={"x": 1})
    trial = replace(BEST, configuration=bare)
    trials = [trial if t.number == trial.number else t for t in TRIALS]
    text = text_of(trial, tmp_path, trials)
    assert "were not kept" not in text
    assert "no PEFT modules to export" in text


def test_a_declared_metric_has_its_unit_also_where_it_is_no_objective(tmp_path):
    rung = BEST.rungs[-1]
    told = replace(
        BEST, rungs=(*BEST.rungs[:-1], replace(rung, metrics={**rung.metrics, "lat": 6.2}))
    )
    spec = replace(SPEC, metrics={"lat": Metric("lat", "ms", "minimize", False, "of a request")})
    document = trial_document(spec, TRIALS, told, adapter=tmp_path)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(trial_view(spec, TRIALS, told, document), highlight=False)
    assert "6.2 ms" in captured.get()
