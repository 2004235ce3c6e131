"""What a study takes over from earlier ones of the same store.

It is read when the study is first opened and kept with it: an earlier study that goes on, or whose
model is gone, changes nothing after a resume.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from autopeft.domain.errors import AutopeftError, StudyError
from autopeft.domain.estimates import ESTIMATED
from autopeft.domain.objective import Objective, qualities
from autopeft.domain.ports import Problem, Store
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State
from autopeft.importing import is_imported, looked_up
from autopeft.records import spec_of
from autopeft.search.model.earlier import Earlier, earlier

_FACT = "warm_start"  # its key among the facts of a study
_FEWEST = 3  # results; below it there is nothing to model


def check(spec: StudySpec, store: Store) -> None:
    """Whether the earlier studies of a new study are there and say something about it.

    Raises:
        StudyError: the store has no study of a name, or one has no model or too few results of the
            objective.
    """
    there = {record.name: record.document for record in store.studies()}
    if missing := [name for name in spec.search.warm_start if name not in there]:
        raise StudyError(
            f"search.warm_start names studies of this store, got {', '.join(missing)}: "
            f"it has {', '.join(there) or 'none'}"
        )
    for name in spec.search.warm_start:
        document = there[name]
        if "evaluator" in document and not document.get("model"):
            raise StudyError(
                f"search.warm_start needs studies of a model, whose sizes a search can take over, "
                f"got {name} without one: take it out"
            )
        metric, history = _objective(spec).metric, store.history(name)
        told = [trial for trial in history if trial.rungs and trial.state is not State.FAILED]
        if sum(metric in trial.metrics for trial in told) < _FEWEST:
            measured = sorted({m for trial in told for m in trial.rungs[-1].metrics})
            raise StudyError(
                f"search.warm_start needs studies with {_FEWEST} results of {metric}, got {name} "
                f"with {len(told)} of {', '.join(measured) or 'nothing'}: take it out"
            )


def lacking(spec: StudySpec, store: Store) -> list[str]:
    """What `check` would refuse of a study that has not taken anything over yet."""
    kept = store.recall(spec.name).get(_FACT, "[]")
    if [document["study"] for document in json.loads(kept)] == list(spec.search.warm_start):
        return []
    try:
        check(spec, store)
    except StudyError as error:
        return [str(error)]
    return []


def taken_over(
    spec: StudySpec, store: Store, problem_of: Callable[[StudySpec], Problem]
) -> tuple[Earlier, ...]:
    """The earlier studies of a study in the store, as they were when it was first opened.

    problem_of: the problem of an earlier study's spec; asked the first time only.

    Raises:
        StudyError: the model of an earlier study cannot be read, or see `check`.
    """
    if not spec.search.warm_start:
        return ()
    kept = store.recall(spec.name).get(_FACT)
    if kept is not None:
        return tuple(Earlier.from_document(document) for document in json.loads(kept))
    check(spec, store)
    found = tuple(_told(name, spec, store, problem_of) for name in spec.search.warm_start)
    documents = [source.document() for source in found]
    store.remember(spec.name, _FACT, json.dumps(documents, separators=(",", ":")))
    return found


def _told(
    name: str, spec: StudySpec, store: Store, problem_of: Callable[[StudySpec], Problem]
) -> Earlier:
    record = store.study(name)
    try:
        problem = problem_of(spec_of(record))
    except AutopeftError as error:
        raise StudyError(f"search.warm_start: {name} cannot be read: {error}") from error
    history = store.history(name)
    if is_imported(record.document):
        problem = replace(problem, known=looked_up(history))
    return earlier(name, problem, history, _objective(spec))


def _objective(spec: StudySpec) -> Objective:
    (quality,) = qualities(spec.objectives, ESTIMATED if spec.evaluator is None else set())
    return quality
