"""One segment: build, train to its stop, measure, and leave a checkpoint or an adapter behind."""

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from autopeft.allocation.adalora import AdaLoraCallback
from autopeft.domain.ports import Report
from autopeft.domain.recipe import trainer_arguments
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Segment, Stop
from autopeft.training.inject import build, total_steps
from autopeft.training.measure import (
    PeakMemory,
    classification_metrics,
    classify,
    language_losses,
    language_metrics,
)
from autopeft.training.model import Base
from autopeft.training.pausing import StopAt, pausing, progress_of


@dataclass(frozen=True)
class Measured:
    """What a segment gives: metrics, standard errors, steps done, and what it was measured with."""

    step: int
    metrics: Mapping[str, float]
    stderr: Mapping[str, float]
    notes: Mapping[str, Any] = field(default_factory=dict)


class Curve(TrainerCallback):  # type: ignore[misc]
    """Passes the Trainer's logs on as a learning curve."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        metrics = {
            name: float(value)
            for name, value in (logs or {}).items()
            if name in ("loss", "grad_norm", "learning_rate")
        }
        if metrics:
            self._report(state.global_step, metrics)


class SegmentStop(StopAt):
    """Turns a rung into a step once the Trainer knows the length of an epoch."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.steps)
        self._epochs = stop.epochs

    def on_train_begin(
        self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        if self._epochs is not None:
            accumulated = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
            self._step = max(1, math.ceil(self._epochs * max(1, accumulated)))


def tokenize(base: Base, split: Dataset, max_length: int) -> Dataset:
    """Classification rows as the model's inputs, truncated, not padded; labels as `labels`."""
    pairs = "text_pair" in split.column_names

    def encode(batch: dict[str, list[Any]]) -> Any:
        texts = (batch["text"], batch["text_pair"]) if pairs else (batch["text"],)
        encoded = base.tokenizer(*texts, truncation=True, max_length=max_length)
        encoded["labels"] = batch["label"]
        return encoded

    return split.map(encode, batched=True, remove_columns=split.column_names)


@dataclass(frozen=True)
class Bench:
    """Everything that the trials of a study share: base model, data ready for it, folders."""

    spec: StudySpec
    base: Base
    train: Dataset
    validation: Dataset
    folder: Path

    @property
    def classification(self) -> bool:
        return bool(self.spec.model["task_type"] == "SEQ_CLS")

    def checkpoint(self, trial: int, rung: int) -> Path:
        """The state after a rung. One a rung: until a result is told, the one before counts."""
        return self.folder / "checkpoints" / f"trial-{trial}" / f"rung-{rung}"

    def adapter(self, trial: int) -> Path:
        return self.folder / "adapters" / f"trial-{trial}"


def run_segment(bench: Bench, segment: Segment, report: Report) -> Measured:
    """Train a segment and measure it.

    Raises:
        NotFiniteError, ValueError, torch.OutOfMemoryError: the caller makes failures of them.
    """
    recipe = segment.configuration.recipe
    steps = total_steps(recipe, len(bench.train))
    model = build(
        bench.base,
        segment.configuration,
        task_type=bench.spec.model["task_type"],
        total_steps=steps,
        seed=segment.seed,
    )
    origin = bench.checkpoint(segment.trial, segment.rung - 1)
    resume = segment.resume and origin.is_dir()
    before = progress_of(origin) if resume else {"train_seconds": 0.0, "step_seconds": []}
    stop = SegmentStop(segment.stop)
    with tempfile.TemporaryDirectory(prefix="autopeft-") as scratch:
        trainer = _trainer(bench, model, segment, steps, scratch)
        trainer.add_callback(stop)
        trainer.add_callback(Curve(report))
        if hasattr(getattr(model, "base_model", None), "rankallocator"):
            trainer.add_callback(AdaLoraCallback())
        with PeakMemory() as memory:
            trainer.train(resume_from_checkpoint=str(origin) if resume else None)
        step_seconds = [*before["step_seconds"], *stop.step_seconds]
        progress = {
            "train_seconds": before["train_seconds"] + sum(stop.step_seconds),
            "step_seconds": step_seconds,
        }
        if segment.last:
            _save_adapter(model, bench.adapter(segment.trial))
        else:
            trainer.pause(bench.checkpoint(segment.trial, segment.rung), progress)
            _forget(bench, segment)
        metrics, stderr = _measure(bench, trainer)
    costs = {
        "peak_memory_gib": memory.peak_gib,
        "train_seconds": progress["train_seconds"],
        "step_ms": 1000 * sorted(step_seconds)[len(step_seconds) // 2],
    }
    notes = {
        "memory": memory.kind,
        "device": str(trainer.args.device),
        "threads": torch.get_num_threads(),
        "total_steps": trainer.state.max_steps,
        "resumed": resume,
    }
    if (ranks := _final_ranks(model)) is not None:
        notes["ranks"] = ranks
    return Measured(trainer.state.global_step, {**metrics, **costs}, stderr, notes)


def _trainer(bench: Bench, model: Any, segment: Segment, steps: int, scratch: str) -> Any:
    arguments = trainer_arguments(
        segment.configuration.recipe,
        seed=segment.seed,
        total_steps=steps,
        on_cpu=not torch.cuda.is_available(),
    )
    trainer_class: Any
    arguments_class: Any
    if bench.spec.trainer == "trl.SFTTrainer":
        from trl import SFTConfig, SFTTrainer

        trainer_class, arguments_class = SFTTrainer, SFTConfig
    else:
        trainer_class, arguments_class = Trainer, TrainingArguments
    trainer = pausing(trainer_class)(
        model=model,
        args=arguments_class(output_dir=scratch, **arguments),
        train_dataset=bench.train,
        eval_dataset=bench.validation,
        processing_class=bench.base.tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _measure(bench: Bench, trainer: Any) -> tuple[dict[str, float], dict[str, float]]:
    loader = trainer.get_eval_dataloader()
    if not bench.classification:
        return language_metrics(language_losses(trainer.model, loader, trainer.args.device))
    losses, predictions = classify(trainer.model, loader, trainer.args.device)
    return classification_metrics(losses, predictions, np.array(bench.validation["labels"]))


def _save_adapter(model: Any, folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    model.save_pretrained(draft, safe_serialization=True)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _forget(bench: Bench, segment: Segment) -> None:
    """Delete checkpoints older than the one this segment came from."""
    for rung in range(segment.rung - 1):
        shutil.rmtree(bench.checkpoint(segment.trial, rung), ignore_errors=True)


def _final_ranks(model: Any) -> dict[str, int] | None:
    config = getattr(model, "peft_config", {}).get("default")
    pattern = getattr(config, "rank_pattern", None)
    if not hasattr(getattr(model, "base_model", None), "rankallocator") or not pattern:
        return None
    return {
        name: sum(ranks) if isinstance(ranks, list) else int(ranks)
        for name, ranks in pattern.items()
    }
