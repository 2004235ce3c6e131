"""A Trainer that pauses at a step and goes on from there to the same bits.

The Trainer's own checkpoints cannot resume AdaLoRA: PEFT saves its matrices shrunken and forgets
the allocator. Here every trainable tensor is kept at full size, with the allocator's state; the
optimiser, the scheduler and the random state are written and read by the Trainer's own methods.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback, TrainerState

from autopeft.allocation.adalora import allocator_state, restore_allocator
from autopeft.training.ranks import barrier, gathered, rank
from autopeft.training.stopping import EveryRowMixin

_TENSORS, _ALLOCATOR, _PAUSE = "trainable.safetensors", "allocator.safetensors", "pause.json"
_BEST = "best.safetensors"


class NotFiniteError(Exception):
    """The training or validation loss became NaN or infinite."""


class StopAt(TrainerCallback):  # type: ignore[misc]
    """Stops after so many steps and measures every step."""

    def __init__(self, step: int | None) -> None:
        self._step = step
        self._began = 0.0
        self.step_seconds: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step_seconds.append(time.perf_counter() - self._began)
        if self._step is not None and state.global_step >= self._step:
            control.should_training_stop = True


class PausingMixin(EveryRowMixin):
    """Added in front of `transformers.Trainer` or one of its children.

    best_weights: those to go back to, of a trainer that keeps any.
    """

    best_weights: dict[str, torch.Tensor] | None = None

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)  # type: ignore[misc]
        if not torch.isfinite(loss):
            raise NotFiniteError(
                f"the training loss is {loss.item()} at step {self.state.global_step + 1}"
            )
        return loss

    def pause(self: Any, folder: Path, progress: dict[str, Any]) -> None:
        """Write a checkpoint; it is there whole or not at all.

        progress: what the caller wants back when it resumes (JSON).
        """
        draft = folder.with_name(f".{folder.name}.{gathered(os.getpid())[0]}")
        if rank() == 0:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        barrier()
        with whole(draft):
            self._save_rng_state(str(draft))
            barrier()
            if rank() == 0:
                self._write(draft, progress)
                settle(draft, folder)
        barrier()

    def _write(self: Any, draft: Path, progress: dict[str, Any]) -> None:
        """All of a checkpoint but the random states, of which every process has its own."""
        save_file(
            {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad},
            draft / _TENSORS,
        )
        if (ranks := _ranks(self.model)) is not None:
            flat = {
                f"{kind}/{name}": tensor.clone()
                for kind, tensors in allocator_state(self.model).items()
                for name, tensor in tensors.items()
            }
            save_file(flat, draft / _ALLOCATOR)
        if self.best_weights is not None:
            save_file(self.best_weights, draft / _BEST)
        (draft / _PAUSE).write_text(json.dumps({"ranks": ranks, "progress": progress}))
        self._save_optimizer_and_scheduler(str(draft))
        self._save_scaler(str(draft))
        self.state.save_to_json(str(draft / "trainer_state.json"))

    def rest(self: Any, folder: Path) -> None:
        """Be what `pause` left in the folder, without training on."""
        self._load_from_checkpoint(str(folder))
        self.state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        self.accelerator.prepare_model(self.model, evaluation_mode=True)

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        tensors = load_file(folder / _TENSORS)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(tensors.pop(name))
        if tensors:
            raise RuntimeError(
                f"the checkpoint holds tensors of another network: {sorted(tensors)}"
            )
        if (folder / _BEST).exists():
            self.best_weights = load_file(folder / _BEST)
        if (folder / _ALLOCATOR).exists():
            state: dict[str, dict[str, Any]] = {"ipt": {}, "exp_avg_ipt": {}, "exp_avg_unc": {}}
            for name, tensor in load_file(folder / _ALLOCATOR).items():
                kind, _, parameter_name = name.partition("/")
                state[kind][parameter_name] = tensor
            restore_allocator(self.model, state, json.loads((folder / _PAUSE).read_text())["ranks"])


def carry_on(origin: Path, folder: Path) -> None:
    """Make the checkpoint of a training that has ended also that of a later rung."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    with whole(draft):
        shutil.copytree(origin, draft)
        settle(draft, folder)


@contextmanager
def whole(draft: Path) -> Iterator[None]:
    """Nothing is left of what could not be written to its end: a full disk would stay full."""
    try:
        yield
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def settle(draft: Path, folder: Path) -> None:
    """Put a finished folder in its place, on the disk before it is seen."""
    for file in draft.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def progress_of(folder: Path) -> dict[str, Any]:
    """What `pause` was given."""
    found: dict[str, Any] = json.loads((folder / _PAUSE).read_text())["progress"]
    return found


def pausing(trainer_class: type[Trainer]) -> type[Any]:
    """A trainer class that can pause."""
    return type(f"Pausing{trainer_class.__name__}", (PausingMixin, trainer_class), {})


def _ranks(model: Any) -> dict[str, Any] | None:
    """AdaLoRA's ranks so far ({} before the first allocation); None for other models."""
    if not hasattr(getattr(model, "base_model", None), "rankallocator"):
        return None
    config = model.peft_config[model.base_model.trainable_adapter_name]
    return dict(config.rank_pattern or {})
