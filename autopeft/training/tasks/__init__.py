"""The kinds of task: what each decides of a trial."""

from collections.abc import Mapping

from autopeft.domain.tasks import TaskKind
from autopeft.training.tasks.classification import Classification
from autopeft.training.tasks.language import Language
from autopeft.training.tasks.task import Measures, Task

__all__ = ["Measures", "Task", "task_of"]

_TASKS: Mapping[str, Task] = {"SEQ_CLS": Classification(), "CAUSAL_LM": Language()}


def task_of(kind: TaskKind) -> Task:
    """What a kind of task does."""
    return _TASKS[kind.task_type]
