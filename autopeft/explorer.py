"""A study for the explorer: the store's trials, and what the surrogate says of them."""

from collections.abc import Callable
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Problem, Store
from autopeft.domain.results.insight import mute
from autopeft.domain.results.replicates import searched
from autopeft.domain.study import StudySpec

Asked = Callable[[], tuple[Problem, tuple[str, ...]]]


def explorer_document(spec: StudySpec, store: Store, asked: Asked) -> Callable[[], dict[str, Any]]:
    """What gives the document of a study, as the store has it when it is called.

    It keeps what the surrogate learned, and the document until a trial changes.
    Threads: one at a time.

    asked: the problem and the names of the model's head; called once. A study may outlive its model
        and its data: then the page says that the surrogate could not be asked.
    """
    from autopeft.report.document import study_document
    from autopeft.search.insight.insights import Insights

    name = spec.name
    insights: Insights | None = None
    head: tuple[str, ...] = ()
    refused = ""
    kept: tuple[object, dict[str, Any]] | None = None

    def document() -> dict[str, Any]:
        nonlocal insights, head, refused, kept
        if insights is None and not refused:
            try:
                problem, head = asked()
                insights = Insights(problem)
            except (AutopeftError, OSError) as error:
                refused = f"the study's model or data cannot be read here: {error}"
        record, trials = store.study(name), store.history(name)
        told = (record.state, [(t.number, t.state, len(t.rungs)) for t in trials])
        if kept is None or kept[0] != told:
            insight = (
                mute(spec.objectives, refused) if insights is None else insights(searched(trials))
            )
            kept = told, study_document(spec, record, trials, insight, head=head)
        return kept[1]

    return document
