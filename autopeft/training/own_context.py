"""What the user's own training code is given beside the configuration."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from transformers import TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from autopeft.domain.model import ModelShape
from autopeft.domain.own_code import TEST, number
from autopeft.domain.ports import Report
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Segment
from autopeft.home import StudyFolder
from autopeft.training.inject import UnfitError, peft_configs
from autopeft.tuners.composite import inject_composite

_EPOCH = 1e-9  # of an epoch, for rounding
_LAST_STEP = 2**31 - 1  # what PostgreSQL's integers hold


class Context:
    """One call of `evaluate(configuration, context)`.

    A study with rungs calls it once a rung. Each call has a checkpoint folder of its own, and is
    told where the one before it left off.

    seed: of the trial; `transformers.set_seed` was called with it.
    device: `cuda` or `cpu`.
    test: whether to measure a test split too, where there is one, and return its metrics as a
        mapping under `test`: true in a confirmation alone, which reports them.
    options: the file's `evaluator.options`.
    checkpoint: an empty folder; what is in it when the code returns is there when it goes on.
    resume_from: where to go on from: the newest `checkpoint-*` of the earlier call's folder, as a
        Trainer takes it, else that folder; None: start anew.
    adapter: a folder for the weights at the end of training; kept as long as the trial is on the
        front. Emptied before the last call.
    """

    def __init__(
        self,
        segment: Segment,
        *,
        spec: StudySpec,
        shape: ModelShape,
        folder: StudyFolder,
        device: str,
        report: Report,
    ) -> None:
        assert spec.evaluator is not None
        self.seed = segment.seed
        self.device = device
        self.test = segment.test
        self.options: Mapping[str, Json] = spec.evaluator.options
        self.checkpoint = _emptied(folder.checkpoint(segment.trial, segment.rung))
        earlier = folder.checkpoint(segment.trial, segment.rung - 1)
        self.resume_from = _left_in(earlier) if segment.resume else None
        adapter = folder.adapter(segment.trial)
        self.adapter = _emptied(adapter) if segment.last else adapter
        self.step = 0
        self.asked = False
        self._segment = segment
        self._shape = shape
        self._task_type = str(spec.model.get("task_type", ""))
        self._report = report

    def report(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Show a point of the learning curve; what is no number is left out."""
        self.step = max(self.step, _step(step))
        found = {str(name): number(value) for name, value in metrics.items()}
        numbers = {name: value for name, value in found.items() if value is not None}
        if numbers:
            self._report(int(step), numbers)

    def should_pause(self, *, step: int | None = None, epoch: float | None = None) -> bool:
        """Whether the trial has come to its rung: save, measure and return.

        Args:
            step, epoch: of the whole training, counted from its start; the one that `search.rungs`
                counts is needed.

        Raises:
            ValueError: it is missing.
        """
        self.asked = True
        if step is not None:
            self.step = max(self.step, _step(step))
        stop = self._segment.stop
        if stop.steps is not None:
            return _given("steps", "step", step) >= stop.steps
        if stop.epochs is not None:
            return _given("epochs", "epoch", epoch) >= stop.epochs - _EPOCH
        return False

    def refuse(self, why: str) -> NoReturn:
        """Say that this configuration cannot be trained, and never could: the search learns it.

        Any other error says nothing of the configuration, and others like it are tried.

        Raises:
            UnfitError: always.
        """
        raise UnfitError(why)

    def callback(self) -> TrainerCallback:
        """For a Trainer: reports its logs, and at a rung saves a checkpoint and stops.

        The Trainer's output_dir has to be `checkpoint`.
        """
        return _RungCallback(self)

    def training_arguments(self) -> dict[str, Json]:
        """The recipe, the seed and the output_dir, for TrainingArguments and its children.

        Without a GPU also what makes them train on the CPU, in 32 bits unless the recipe says so.
        """
        place = {} if self.device == "cuda" else {"use_cpu": True, "bf16": False}
        recipe = self._segment.configuration.recipe
        return {**place, **recipe, "seed": self.seed, "output_dir": str(self.checkpoint)}

    def train_and_evaluate(self, trainer: Any) -> dict[str, Any]:
        """Train to the rung or to the end, and return what `trainer.evaluate()` gives.

        Adds `callback()`, goes on from `resume_from`, and at the end of training saves the
        weights in `adapter`. A Trainer whose eval_dataset has the splits `validation` and `test`
        is measured on the first; on the second where `test` asks for it, and never while training.
        """
        splits = trainer.eval_dataset
        tested = isinstance(splits, dict) and set(splits) == {"validation", TEST}
        if tested:
            trainer.eval_dataset = splits["validation"]
        callback = self.callback()
        trainer.add_callback(callback)
        if self.resume_from is not None and _ended(self.resume_from):
            self._rest(trainer, callback)  # the Trainer would train a further step
        else:
            trainer.train(resume_from_checkpoint=self.resume_from and str(self.resume_from))
        if self._segment.last:
            trainer.save_model(str(self.adapter))
        found: dict[str, Any] = trainer.evaluate()
        if tested and self.test:
            trainer.remove_callback(callback)  # else what it logs would be part of the curve
            found[TEST] = trainer.evaluate(splits[TEST])
        return found

    def _rest(self, trainer: Any, callback: "_RungCallback") -> None:
        """Be what an earlier call left at the end of training; a later one finds it here."""
        assert self.resume_from is not None
        self.asked = True
        trainer.state = TrainerState.load_from_json(str(self.resume_from / TRAINER_STATE_NAME))
        self.step = max(self.step, trainer.state.global_step)
        callback.on_train_begin(trainer.args, trainer.state, None)
        if trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint:
            trainer._load_best_model()
        else:
            trainer._load_from_checkpoint(str(self.resume_from))
        if not self._segment.last:
            shutil.copytree(self.resume_from.parent, self.checkpoint, dirs_exist_ok=True)

    def peft_config(self) -> Any:
        """PEFT's own config of this trial; a list where several modules are used together, None
        where there is none: full fine-tuning, or free parameters alone."""
        configs = self._configs()
        return list(configs) if len(configs) > 1 else next(iter(configs), None)

    def inject(self, model: Any) -> Any:
        """Put the trial's modules into a model, in place, and let only them and the head train.

        Full fine-tuning makes all of the model trainable; without either it stays as it is.
        """
        from peft import get_peft_model

        configs = self._configs()
        if self._segment.configuration.architecture.full_fine_tuning:
            model.requires_grad_(True)
        elif len(configs) > 1:
            model.requires_grad_(False)
            return inject_composite(model, configs, head=self._shape.head)
        return get_peft_model(model, configs[0]) if configs else model

    def _configs(self) -> Sequence[Any]:
        architecture = self._segment.configuration.architecture
        if architecture.frozen or architecture.full_fine_tuning:
            return ()
        return peft_configs(
            self._segment.configuration,
            task_type=self._task_type,
            total_steps=1,  # AdaLoRA's schedule alone reads it, and is refused
            head=self._shape.head,
        )


class _RungCallback(TrainerCallback):  # type: ignore[misc]
    def __init__(self, context: Context) -> None:
        self._context = context

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self._context.report(state.global_step, logs or {})

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        wanted = self._context.checkpoint.resolve()
        if not args.output_dir or Path(args.output_dir).resolve() != wanted:
            raise ValueError(
                f"context.callback() needs the Trainer's output_dir to be context.checkpoint, got "
                f"{args.output_dir}: what it saves elsewhere is not found again"
            )
        # The best so far may lie beside what is resumed, which another worker wrote elsewhere.
        best, origin = state.best_model_checkpoint, self._context.resume_from
        if best and origin is not None and not Path(best).exists():
            here = origin.with_name(Path(best).name)
            state.best_model_checkpoint = str(here) if here.is_dir() else best

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._context.should_pause(step=state.global_step, epoch=state.epoch):
            control.should_save = control.should_training_stop = True


def _ended(folder: Path) -> bool:
    """Whether a Trainer's checkpoint is that of its last step."""
    file = folder / TRAINER_STATE_NAME
    if not file.is_file():
        return False
    state = TrainerState.load_from_json(str(file))
    return bool(state.global_step >= state.max_steps > 0)


def _step(step: Any) -> int:
    """A step as the store holds it.

    Raises:
        ValueError: it is larger.
    """
    if int(step) > _LAST_STEP:
        raise ValueError(f"a step is at most {_LAST_STEP}, got {step}: count optimiser steps")
    return int(step)


def _given(unit: str, name: str, value: float | None) -> float:
    if value is None:
        raise ValueError(
            f"search.rungs counts {unit}, and context.should_pause was not told the {name}: "
            f"call should_pause({name}=...)"
        )
    return value


def _emptied(folder: Path) -> Path:
    """A folder without what a call that was cut off left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _left_in(folder: Path) -> Path | None:
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    numbered = [
        (int(number), path)
        for path in folder.glob("checkpoint-*")
        if (number := path.name.partition("-")[2]).isdigit()
    ]
    return max(numbered)[1] if numbered else folder
