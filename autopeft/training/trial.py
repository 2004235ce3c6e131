"""One segment: build, train to its stop, measure, and leave a checkpoint or an adapter behind."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from autopeft import preemption
from autopeft.allocation.adalora import AdaLoraCallback
from autopeft.allocation.data_inits import initial_adapter
from autopeft.allocation.increlora import IncreLora
from autopeft.allocation.strategy import UpdateStrategy
from autopeft.domain.networks.data_inits import rewrites_base
from autopeft.domain.ports import Report
from autopeft.domain.recipes.recipe import micro_batch
from autopeft.domain.trial import Segment
from autopeft.home import StudyFolder
from autopeft.training.assembly import model_of, ranks_of, strategy_in, trainer_of
from autopeft.training.bench import Bench
from autopeft.training.callbacks import Curve, SegmentStop
from autopeft.training.early import notes_told, patience_of, progress_told
from autopeft.training.inject import total_steps
from autopeft.training.outcome import costs_of, measured
from autopeft.training.pausing import carry_on, progress_of
from autopeft.training.ranks import OwnDraws, barrier, peak_of_all, rank, world
from autopeft.training.saving import save_adapter
from autopeft.training.scoring.measure import PeakMemory
from autopeft.training.tasks import Measures

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
    tested = bench.tests(segment)  # makes the split ready: no memory of the trial's
    before = _NOTHING_YET if origin is None else progress_of(origin)
    spent = before.get("spent", 0.0) if before.get("cut_short") else 0.0
    with tempfile.TemporaryDirectory(prefix="autopeft-") as scratch:
        with PeakMemory() as memory:
            ranks = before.get("ranks") or ranks_of(bench, segment, steps, scratch)
            model = model_of(bench, segment, steps, ranks, scratch)
            initial = initial_adapter(model) if _rewritten(segment) else None
            trainer = trainer_of(bench, segment, model, steps, scratch)
            strategy = strategy_in(trainer, segment, steps, before.get("strategy"))
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
            # At its end the Trainer would train a further step before it looks.
            over = origin if before.get("stopped") or before.get("ended") else None
            if over is not None:
                trainer.rest(over)
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
            "ended": trainer.state.global_step >= trainer.state.max_steps,
            **progress_told(trainer, patience),
        }
        to = bench.folder.checkpoint(segment.trial, segment.rung)
        if stop.cut_short:
            spent += time.perf_counter() - began
            trainer.pause(to, {**progress, "cut_short": True, "spent": spent})
            raise preemption.Preempted(f"paused after step {trainer.state.global_step}")
        if not segment.last:
            if over is not None:
                if rank() == 0:
                    carry_on(over, to)
                barrier()
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
        metrics, stderr = measured(bench, trainer, "validation" if tested else None)
        test, test_stderr = measured(bench, trainer, "test") if tested else ({}, {})
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
    every = {**metrics, **costs_of(bench, segment, trainer, progress)}
    return Measured(trainer.state.global_step, every, stderr, notes, test, test_stderr, spent)


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
        return measured(bench, trainer_of(bench, segment, model, steps, scratch))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _rewritten(segment: Segment) -> bool:
    return any(rewrites_base(module) for module in segment.configuration.architecture.modules)


def _current_ranks(model: Any) -> dict[str, int]:
    """AdaLoRA's ranks by module; {} before the first allocation."""
    pattern = model.peft_config["default"].rank_pattern or {}
    return {name.removesuffix(".lora_E"): sum(ranks) for name, ranks in pattern.items()}
