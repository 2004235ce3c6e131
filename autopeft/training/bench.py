"""What the trials of a study share on one worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from autopeft.domain.model import ModelShape
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Segment
from autopeft.home import StudyFolder
from autopeft.training.loading.model import Base
from autopeft.training.measuring.asked import General
from autopeft.training.measuring.own_metrics import OwnMetrics
from autopeft.training.tasks import Task


@dataclass(frozen=True)
class Bench:
    """Everything that the trials of a study share: base model, data ready for it, folders.

    general: a corpus that may be forgotten, where the file asks for that.
    """

    spec: StudySpec
    task: Task
    base: Base
    train: Any  # (n,) inputs, as the trainer takes them
    validation: Any
    folder: StudyFolder
    shape: ModelShape = field(kw_only=True)
    rows: Mapping[str, Any] = field(kw_only=True)  # split -> as it was before the trainer
    general: General | None = field(default=None, kw_only=True)
    own: OwnMetrics = field(kw_only=True)

    @cached_property
    def test(self) -> Any:
        """(n,) inputs; None where there is no such split. Only a confirmation looks at them."""
        rows = self.rows["test"]
        return None if rows is None else self.task.inputs(rows, self.base.processor, self.spec.data)

    def tests(self, segment: Segment) -> bool:
        """Whether the segment is measured on the test split too."""
        return segment.test and self.test is not None
