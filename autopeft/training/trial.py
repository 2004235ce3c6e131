"""One segment: build, train to its stop, measure, and leave a checkpoint or an adapter behind."""

import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from transformers import PrinterCallback, TrainerCallback

from autopeft import preemption
from autopeft.allocation.adalora import AdaLoraCallback
from autopeft.allocation.data_inits import initial_adapter, inject_by_data
from autopeft.allocation.increlora import IncreLora
from autopeft.allocation.strategy import UpdateStrategy
from autopeft.domain.allocation import found_before_training
from autopeft.domain.data_inits import rewrites_base
from autopeft.domain.fit import loads_quantised
from autopeft.domain.model import ModelShape
from autopeft.domain.ports import Report
from autopeft.domain.recipe import micro_batch, trainer_arguments
from autopeft.domain.serving import unmerged_because
from autopeft.domain.stopping import EarlyStopping
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Segment
from autopeft.home import StudyFolder
from autopeft.training.allocating import ranks_before_training, strategy_of
from autopeft.training.asked import General, asked_metrics
from autopeft.training.callbacks import Curve, SegmentStop
from autopeft.training.costs import costs
from autopeft.training.early import judge_early, judge_of, notes_told, patience_of, progress_told
from autopeft.training.harness import harness_measures
from autopeft.training.inject import UnfitError, build, refusals, total_steps
from autopeft.training.judging import judge
from autopeft.training.measure import PeakMemory
from autopeft.training.model import Base
from autopeft.training.old_versions import refuse_what_is_broken
from autopeft.training.own_metrics import OwnMetrics, predicted
from autopeft.training.pausing import NotFiniteError, carry_on, pausing, progress_of
from autopeft.training.ranks import (
    OwnDraws,
    average_over_processes,
    on_one_device,
    own_recipe,
    peak_of_all,
    rank,
    world,
)
from autopeft.training.saving import save_adapter
from autopeft.training.stopping import judged
from autopeft.training.tasks import Measures, Task

_NOTHING_YET: Mapping[str, Any] = {
    "train_seconds": 0.0,
    "step_seconds": [],
    "peak_memory_gib": 0.0,
}


@dataclass(frozen=True)
class Measured:
    """What a segment gives: metrics, standard errors, steps done, and what it was measured with.

    test, test_stderr: of the test split, where the segment asks for it and the data has one.
    spent: wall seconds of a part of the segment that was cut short before.
    """

    step: int
    metrics: Mapping[str, float]
    stderr: Mapping[str, float]
    notes: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    test_stderr: Mapping[str, float] = field(default_factory=dict)
    spent: float = 0.0


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


def run_segment(bench: Bench, segment: Segment, report: Report) -> Measured:
    """Train a segment and measure it.

    Raises:
        NotFiniteError, UnfitError, torch.OutOfMemoryError: the caller makes failures of them.
        Preempted: the machine goes away; a checkpoint of the segment is written.
    """
    steps = total_steps(segment.configuration.recipe, len(bench.train))
    began = time.perf_counter()
    origin = origin_of(bench.folder, segment)
    resume = origin is not None
    tested = _tested(bench, segment)  # makes the split ready: no memory of the trial's
    before = _NOTHING_YET if origin is None else progress_of(origin)
    spent = before.get("spent", 0.0) if before.get("cut_short") else 0.0
    with tempfile.TemporaryDirectory(prefix="autopeft-") as scratch:
        with PeakMemory() as memory:
            ranks = before.get("ranks") or _ranks(bench, segment, steps, scratch)
            model = _model(bench, segment, steps, ranks, scratch)
            initial = initial_adapter(model) if _rewritten(segment) else None
            trainer = _trainer(bench, segment, model, steps, scratch)
            strategy = _strategy(trainer, segment, steps, before.get("strategy"))
            adalora = isinstance(strategy, AdaLoraCallback)
            counts = adalora or isinstance(strategy, IncreLora)

            def record() -> Mapping[str, Any]:
                if adalora:
                    return {"ranks": _current_ranks(trainer.model)}
                if isinstance(strategy, UpdateStrategy):
                    return strategy.record()
                return {"ranks": ranks} if ranks else {}

            stop = SegmentStop(segment.stop, steps if counts else None)
            patience = patience_of(segment.configuration, steps, before)
            callbacks = (stop, Curve(report, record), strategy, OwnDraws(), patience)
            for callback in (c for c in callbacks if c is not None):
                trainer.add_callback(callback)
            trainer.best_step = before.get("best_step", 0)
            if origin is not None and before.get("stopped"):
                trainer.rest(origin)
            else:
                # Processes that train together would have to agree on a step: they do not look.
                with preemption.looking() if world() == 1 else nullcontext():
                    trainer.train(resume_from_checkpoint=str(origin) if resume else None)
        progress = {
            "train_seconds": before["train_seconds"] + sum(stop.step_seconds),
            "step_seconds": [*before["step_seconds"], *stop.step_seconds],
            "peak_memory_gib": max(
                before["peak_memory_gib"], peak_of_all(memory.peak_gib, memory.kind)
            ),
            "ranks": ranks,
            "micro_batch": micro_batch(segment.configuration),
            "strategy": strategy.state() if isinstance(strategy, UpdateStrategy) else None,
            **progress_told(trainer, patience),
        }
        to = bench.folder.checkpoint(segment.trial, segment.rung)
        if stop.cut_short:
            spent += time.perf_counter() - began
            trainer.pause(to, {**progress, "cut_short": True, "spent": spent})
            raise preemption.Preempted(f"paused after step {trainer.state.global_step}")
        if not segment.last:
            if origin is not None and before.get("stopped"):
                carry_on(origin, to)
            else:
                trainer.pause(to, progress)
            if rank() == 0:
                bench.folder.forget(segment.trial, after=segment.rung)
        if patience is not None:
            trainer.back_to_best()
        if segment.last and rank() == 0:
            folder = bench.folder.adapter(segment.trial)
            save_adapter(trainer.model, folder, strategy=strategy, initial=initial)
        # After the checkpoint: what measuring draws cannot reach the training that goes on.
        metrics, stderr = _measure(bench, trainer, "validation" if tested else None)
        test, test_stderr = _measure(bench, trainer, "test") if tested else ({}, {})
    notes = {
        "memory": memory.kind,
        "device": _device_name(trainer.args.device),
        "threads": torch.get_num_threads(),
        "total_steps": trainer.state.max_steps,
        "resumed": resume,
    }
    if world() > 1:
        notes["processes"] = world()
    notes |= {name: value for name, value in record().items() if value}
    notes |= notes_told(trainer, patience)
    measured = {**metrics, **_costs(bench, segment, trainer, progress)}
    return Measured(trainer.state.global_step, measured, stderr, notes, test, test_stderr, spent)


def origin_of(folder: StudyFolder, segment: Segment) -> Path | None:
    """The checkpoint that a segment starts from; None: it starts anew.

    That is its own, where it was cut short, in the same batches; else that of the rung before.
    """
    own = folder.checkpoint(segment.trial, segment.rung)
    if own.is_dir():
        progress = progress_of(own)
        same = progress.get("micro_batch") == micro_batch(segment.configuration)
        if progress.get("cut_short") and same:
            return own
    before = folder.checkpoint(segment.trial, segment.rung - 1)
    return before if segment.resume and before.is_dir() else None


def remeasure(bench: Bench, segment: Segment, model: Any) -> Measures:
    """Validation metrics and standard errors of a trained model, as its trial measures them."""
    steps = total_steps(segment.configuration.recipe, len(bench.train))
    with tempfile.TemporaryDirectory(prefix="autopeft-") as scratch:
        return _measure(bench, _trainer(bench, segment, model, steps, scratch))


def _costs(
    bench: Bench, segment: Segment, trainer: Any, progress: Mapping[str, Any]
) -> dict[str, float]:
    architecture, spec = segment.configuration.architecture, bench.spec
    quantized = loads_quantised(spec.model)
    merges = unmerged_because(architecture, bench.shape, quantized=quantized) is None
    found = costs(progress, trainer, spec.resources)
    return found | asked_metrics(spec.asked, trainer, bench.general, merges=merges)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _ranks(bench: Bench, segment: Segment, steps: int, scratch: str) -> dict[str, int] | None:
    """What the allocation finds before training; None where it finds nothing then."""
    architecture = segment.configuration.architecture
    if not found_before_training(architecture):
        return None
    plain = _trainer(bench, segment, bench.base.copy(segment.seed), steps, scratch)
    with refusals():
        return ranks_before_training(architecture, plain, seed=segment.seed)


def _rewritten(segment: Segment) -> bool:
    return any(rewrites_base(module) for module in segment.configuration.architecture.modules)


def _model(
    bench: Bench, segment: Segment, steps: int, ranks: dict[str, int] | None, scratch: str
) -> Any:
    if bench.spec.task.task_type == "CAUSAL_LM":
        refuse_what_is_broken(segment.configuration.architecture, bench.spec.model)

    def by_data(model: Any, config: PeftConfig) -> Any:
        plain = _trainer(bench, segment, model, steps, scratch)
        return inject_by_data(plain, config, seed=segment.seed)

    return build(
        bench.base,
        segment.configuration,
        task_type=bench.spec.model["task_type"],
        total_steps=steps,
        seed=segment.seed,
        ranks=ranks,
        by_data=by_data,
    )


def _strategy(
    trainer: Any, segment: Segment, steps: int, state: Mapping[str, Any] | None
) -> TrainerCallback | None:
    """What acts while training, gone on from a state where there is one."""
    if hasattr(getattr(trainer.model, "base_model", None), "rankallocator"):
        return AdaLoraCallback()
    architecture = segment.configuration.architecture
    with refusals():
        strategy = strategy_of(architecture, trainer, total_steps=steps, seed=segment.seed)
    if strategy is not None and state is not None:
        strategy.restore(state)
    return strategy


def _trainer(bench: Bench, segment: Segment, model: Any, steps: int, scratch: str) -> Any:
    arguments = trainer_arguments(
        own_recipe(segment.configuration.recipe),
        seed=segment.seed,
        total_steps=steps,
        on_cpu=not torch.cuda.is_available(),
    )
    if arguments.get("fp16") and not torch.cuda.is_available():
        raise UnfitError("fp16 needs a GPU, and this worker has none: take bf16: true, or neither")
    trainer_class, arguments_class = bench.task.trainer()
    if EarlyStopping.of(segment.configuration.recipe) is not None:
        trainer_class = judged(trainer_class)
    with refusals():
        trainer = pausing(trainer_class)(
            model=model,
            args=on_one_device(arguments_class(output_dir=scratch, **arguments)),
            train_dataset=bench.train,
            eval_dataset=_evaluated(bench, segment),
            processing_class=bench.base.processor,
            data_collator=bench.task.collator(model, bench.base.processor),
        )
    if trainer.args.gradient_checkpointing and hasattr(model, "prompt_encoder"):
        # Recomputed layers get no cache, so the prefix would be left out, silently.
        raise UnfitError(
            "PREFIX_TUNING does not work with gradient checkpointing: "
            "put gradient_checkpointing: false into training"
        )
    average_over_processes(trainer, by_tokens=bench.spec.task.task_type == "CAUSAL_LM")
    trainer.remove_callback(PrinterCallback)
    split = "validation" if _tested(bench, segment) else None
    judge_early(trainer, segment.configuration.recipe, judge_of(bench.task, bench.own, split))
    return trainer


def _tested(bench: Bench, segment: Segment) -> bool:
    return segment.test and bench.test is not None


def _evaluated(bench: Bench, segment: Segment) -> Any:
    """The trainer prepares what it evaluates on, so the test split has to be there at once."""
    if not _tested(bench, segment):
        return bench.validation
    return {"validation": bench.validation, "test": bench.test}


def _measure(bench: Bench, trainer: Any, split: str | None = None) -> Measures:
    """split: its name, where the trainer has several."""
    loader = trainer.get_eval_dataloader(split)
    metrics, errors = bench.task.measure(
        trainer.model, loader, trainer.args.device, bench.spec.asked
    )
    for name, value in metrics.items():
        # What the test split says decides nothing.
        if split != "test" and not math.isfinite(value):
            what = "the validation loss" if name == "eval_loss" else name
            raise NotFiniteError(f"{what} is {value} at step {trainer.state.global_step}")
    own = partial(bench.own.of, finite=split != "test")
    more, their_errors = judge(
        bench.spec,
        trainer.model,
        bench.base.processor,
        bench.rows[split or "validation"],
        batch_size=trainer.args.per_device_eval_batch_size,
        precision=trainer.accelerator.autocast(),
        own=own if bench.own else None,
    )
    if bench.own and not bench.spec.task.writes:
        found, spread = own(*predicted(trainer, loader))
        more, their_errors = more | found, their_errors | spread
    if split == "test":  # the tasks of the harness are what they are: measured once
        return {**metrics, **more}, {**errors, **their_errors}
    of_tasks, errors_of_tasks = harness_measures(
        bench.spec,
        trainer.model,
        bench.base.processor,
        batch_size=trainer.args.per_device_eval_batch_size,
        precision=trainer.accelerator.autocast(),
    )
    return {**metrics, **more, **of_tasks}, {**errors, **their_errors, **errors_of_tasks}


def _current_ranks(model: Any) -> dict[str, int]:
    """AdaLoRA's ranks by module; {} before the first allocation."""
    pattern = model.peft_config["default"].rank_pattern or {}
    return {name.removesuffix(".lora_E"): sum(ranks) for name, ranks in pattern.items()}
