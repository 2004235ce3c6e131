"""The kinds of task: what each decides of a trial."""

from collections.abc import Mapping

from autopeft.domain.tasks import TaskKind
from autopeft.training.tasks.classification import Classification
from autopeft.training.tasks.images import ImageClassification
from autopeft.training.tasks.language import Language
from autopeft.training.tasks.multi_label import MultiLabel
from autopeft.training.tasks.regression import Regression
from autopeft.training.tasks.seq2seq import SequenceToSequence
from autopeft.training.tasks.task import Measures, Task
from autopeft.training.tasks.tokens import TokenClassification

__all__ = ["Measures", "Task", "task_of"]

_TASKS: Mapping[str, Task] = {
    "SEQ_CLS": Classification(),
    "SEQ_CLS regression": Regression(),
    "SEQ_CLS multi_label_classification": MultiLabel(),
    "TOKEN_CLS": TokenClassification(),
    "SEQ_2_SEQ_LM": SequenceToSequence(),
    "IMAGE_CLS": ImageClassification(),
    "CAUSAL_LM": Language(),
}


def task_of(kind: TaskKind) -> Task:
    """What a kind of task does."""
    return _TASKS[kind.name]
