"""The kinds of task that people fine-tune for: what each trains with, reads and measures.

Only names are here; `training/tasks` holds what they do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autopeft.domain.generation import CHOSEN, GENERATED

TRAINER = "transformers.Trainer"


@dataclass(frozen=True)
class TaskKind:
    """A kind of task.

    task_type: of `model:`, as PEFT names it; trainer: whose arguments `training:` takes.
    columns: names that `data.columns` gives to columns of the data.
    metrics: what a trial measures on validation rows, the loss first.
    max_length: tokens of a row where `data.max_length` does not say; None: not `data`'s to say,
        as the trainer truncates by an argument of its own, or nothing is read token by token.
    max_target_length: the same of what an encoder and decoder is to write; None: it writes nothing.
    problem_type: of `model:`, as transformers names it; None: the task type says it all.
    several: columns that may be a list of columns.
    written: columns that may be a text with other columns in it, as `{question} {answer}`.
    """

    task_type: str
    trainer: str
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    max_length: int | None = None
    max_target_length: int | None = None
    problem_type: str | None = None
    several: tuple[str, ...] = ()
    written: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.task_type} {self.problem_type}" if self.problem_type else self.task_type

    @property
    def writes(self) -> bool:
        """Whether its models are judged by the texts that they generate."""
        return any(metric in GENERATED for metric in self.metrics)


_TEXTS = ("text", "text_pair")
_OF_CLASSES = ("eval_loss", "accuracy", "f1", "matthews_correlation", "calibration_error")

KINDS: Mapping[str, TaskKind] = {
    kind.name: kind
    for kind in (
        TaskKind(
            "SEQ_CLS",
            TRAINER,
            (*_TEXTS, "label"),
            (*_OF_CLASSES, "f1_binary"),
            max_length=128,
            written=_TEXTS,
        ),
        TaskKind(
            "SEQ_CLS",
            TRAINER,
            (*_TEXTS, "label"),
            ("eval_loss", "mae", "pearson", "spearmanr"),
            max_length=128,
            problem_type="regression",
            written=_TEXTS,
        ),
        TaskKind(
            "SEQ_CLS",
            TRAINER,
            (*_TEXTS, "label"),
            ("eval_loss", "accuracy", "f1", "f1_micro"),
            max_length=128,
            problem_type="multi_label_classification",
            several=("label",),
            written=_TEXTS,
        ),
        TaskKind(
            "TOKEN_CLS",
            TRAINER,
            ("tokens", "tags"),
            ("eval_loss", "accuracy", "f1"),
            max_length=128,
        ),
        TaskKind(
            "SEQ_2_SEQ_LM",
            "transformers.Seq2SeqTrainer",
            ("text", "target"),
            ("eval_loss", "perplexity", *GENERATED),
            max_length=512,
            max_target_length=128,
            written=("text", "target"),
        ),
        TaskKind("IMAGE_CLS", TRAINER, ("image", "label"), _OF_CLASSES),
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
"""By name: a task type, and where there are several of it their problem type."""

SINGLE_LABEL = "single_label_classification"
"""The problem type of SEQ_CLS where a file names none."""

PROBLEM_TYPES = (SINGLE_LABEL, *(k.problem_type for k in KINDS.values() if k.problem_type))


def task_kind(model: Mapping[str, Any]) -> TaskKind:
    """The kind of a checked `model:`."""
    problem = model.get("problem_type", SINGLE_LABEL)
    name = model["task_type"]
    return KINDS[name if problem == SINGLE_LABEL else f"{name} {problem}"]
