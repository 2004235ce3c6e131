"""The kinds of task that people fine-tune for: what each trains with, reads and measures.

Only names are here; `training/tasks` holds what they do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autopeft.domain.generation import CHOSEN, GENERATED


@dataclass(frozen=True)
class TaskKind:
    """A kind of task.

    task_type: of `model:`, as PEFT names it; trainer: whose arguments `training:` takes.
    columns: names that `data.columns` gives to columns of the data.
    metrics: what a trial measures on validation rows, the loss first.
    max_length: tokens of a row where `data.max_length` does not say; None: not `data`'s to say,
        as the trainer truncates by an argument of its own.
    """

    task_type: str
    trainer: str
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    max_length: int | None = None


KINDS: Mapping[str, TaskKind] = {
    kind.task_type: kind
    for kind in (
        TaskKind(
            "SEQ_CLS",
            "transformers.Trainer",
            ("text", "text_pair", "label"),
            ("eval_loss", "accuracy", "f1", "matthews_correlation", "calibration_error"),
            max_length=128,
        ),
        TaskKind(
            "CAUSAL_LM",
            "trl.SFTTrainer",
            (
                *("messages", "prompt", "completion", "text", "choices", "answer"),
                *("tools", "chat_template_kwargs"),
            ),
            ("eval_loss", "forgetting", "perplexity", *GENERATED, *CHOSEN),
        ),
    )
}
"""By name: a task type."""


def task_kind(model: Mapping[str, Any]) -> TaskKind:
    """The kind of a checked `model:`."""
    return KINDS[model["task_type"]]
