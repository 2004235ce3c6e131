"""What a study takes over from earlier ones in its store."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import bert_shape

from autopeft import build, entry, warm_start
from autopeft.config import bind, load
from autopeft.domain.errors import AutopeftError, StudyError
from autopeft.domain.trial import Failure, FailureReason, Rung, Trial
from autopeft.store import SqlStore

GOOD = Path(__file__).parent / "config" / "good.yaml"


def study(name, *earlier):
    """A study on a BERT of six layers."""
    spec = bind(load(GOOD, [f"study={name}"]), bert_shape(), source=GOOD)
    search = {**spec.document["search"], "warm_start": list(earlier)} if earlier else {}
    return replace(
        spec,
        search=replace(spec.search, warm_start=earlier),
        document={**spec.document, **({"search": search} if earlier else {})},
    )


def problem_of(spec):
    return build.problem(bind(spec, bert_shape()), bert_shape())


def trials(spec, numbers, *, metric="accuracy"):
    problem, rng = problem_of(spec), np.random.default_rng(0)
    for number in range(max(numbers) + 1):
        point = problem.space.draw(rng)
        configuration = problem.configure(point)
        known = problem.known(configuration.architecture)
        trial = Trial(number, configuration, 0, point, known)
        rung = Rung(0, 90, {metric: 0.5 + 0.01 * number}, {metric: 0.01})
        if number in numbers:
            yield trial.advanced(rung, last=True)


@pytest.fixture
def store(tmp_path):
    return SqlStore(f"sqlite:///{tmp_path / 'studies.db'}")


@pytest.fixture
def first(store):
    """An earlier study of four results."""
    spec = entry.enter(study("first"), store)
    store.commit("first", list(trials(spec, range(4))), [])
    return spec


def test_what_was_taken_over_stays_when_the_earlier_study_goes_on(store, first):
    spec = entry.enter(study("second", "first"), store)
    (before,) = warm_start.taken_over(spec, store, problem_of)
    assert (before.study, len(before.seen), before.layers) == ("first", 4, 6)
    store.commit("first", list(trials(first, range(4, 9))), [])

    def gone(spec):
        raise AssertionError("the earlier model is not needed any more")

    again = SqlStore(str(store._engine.url))
    assert warm_start.taken_over(entry.stored("second", again), again, gone) == (before,)
    third = entry.enter(study("third", "first"), store)
    (now,) = warm_start.taken_over(third, store, problem_of)
    assert len(now.seen) == 9


def test_a_study_that_starts_from_none_keeps_nothing(store, first):
    assert warm_start.taken_over(first, store, problem_of) == ()
    assert store.recall("first") == {}


def test_an_unknown_name_is_said_with_those_there_are_before_there_is_a_study(store, first):
    with pytest.raises(StudyError, match="got frist, none: it has first$"):
        entry.enter(study("second", "frist", "none"), store)
    assert [record.name for record in store.studies()] == ["first"]


def test_what_is_lacking_is_told_until_the_study_has_taken_it_over(store, first):
    (said,) = warm_start.lacking(study("second", "frist"), store)
    assert "got frist: it has first" in said
    spec = entry.enter(study("second", "first"), store)
    assert warm_start.lacking(spec, store) == []
    store.delete("first")
    (said,) = warm_start.lacking(spec, store)
    assert "got first: it has second" in said
    store.remember("second", "warm_start", json.dumps([{"study": "first"}]))
    assert warm_start.lacking(spec, store) == []
    (said,) = warm_start.lacking(study("second", "ghost"), store)
    assert "got ghost: it has second" in said


def test_in_an_empty_store_there_is_none(store):
    with pytest.raises(StudyError, match="got first: it has none"):
        entry.enter(study("second", "first"), store)


def test_a_study_that_measured_something_else_is_of_no_use(store):
    spec = entry.enter(study("first"), store)
    store.commit("first", list(trials(spec, range(4), metric="eval_loss")), [])
    with pytest.raises(StudyError, match="3 results of accuracy, got first with 4 of eval_loss"):
        entry.enter(study("second", "first"), store)


def test_two_results_are_too_few_and_failed_trials_are_none(store):
    spec = entry.enter(study("first"), store)
    *good, last = trials(spec, range(3))
    failed = last.failed(Failure(FailureReason.NOT_FINITE, "nan"))
    store.commit("first", [*good, failed], [])
    with pytest.raises(
        StudyError, match="needs studies with 3 results of accuracy, got first with 2"
    ):
        entry.enter(study("second", "first"), store)


def test_a_study_without_a_model_is_refused_before_there_is_a_new_one(store, first):
    record = store.study("first")
    document = {k: v for k, v in record.document.items() if k != "model"}
    store.update(replace(record, document={**document, "evaluator": "code:evaluate"}))
    with pytest.raises(StudyError, match="needs studies of a model.*got first without one"):
        entry.enter(study("second", "first"), store)
    assert [each.name for each in store.studies()] == ["first"]


def test_an_earlier_model_that_cannot_be_read_is_said(store, first):
    def gone(spec):
        raise AutopeftError("there is no folder bert")

    spec = entry.enter(study("second", "first"), store)
    with pytest.raises(StudyError, match="first cannot be read: there is no folder bert"):
        warm_start.taken_over(spec, store, gone)


def test_a_new_study_of_the_same_name_may_start_from_the_old_one(store, first):
    spec = entry.enter(study("first", "first"), store, new=True)
    assert spec.name == "first-2"
    (taken,) = warm_start.taken_over(spec, store, problem_of)
    assert taken.study == "first"


def test_a_study_that_never_began_takes_a_corrected_file(store, first):
    entry.enter(study("second", "first"), store)
    with pytest.raises(StudyError, match="got nowhere: it has first, second"):
        entry.enter(study("second", "nowhere"), store)
    corrected = entry.enter(study("second"), store)
    assert corrected.search.warm_start == ()
    assert "warm_start" not in store.study("second").document["search"]
    store.commit("second", list(trials(corrected, range(1))), [])
    with pytest.raises(StudyError, match="exists with another space file"):
        entry.enter(study("second", "first"), store)
