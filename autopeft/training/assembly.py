"""What a segment trains: ranks, model, trainer, and the strategy that acts meanwhile."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftConfig
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import is_torch_tf32_available

from autopeft.allocation.adalora import AdaLoraCallback
from autopeft.allocation.data_inits import inject_by_data
from autopeft.domain.networks.allocation import found_before_training
from autopeft.domain.recipes.recipe import trainer_arguments
from autopeft.domain.recipes.stopping import EarlyStopping
from autopeft.domain.rules.fit import loads_quantised
from autopeft.domain.rules.trainer_rules import refuse_unmixed, refuse_untrainable
from autopeft.domain.trial import Segment
from autopeft.training.allocating import ranks_before_training, strategy_of
from autopeft.training.bench import Bench
from autopeft.training.early import judge_early, judge_of
from autopeft.training.inject import UnfitError, build, refusals
from autopeft.training.old_versions import refuse_what_is_broken
from autopeft.training.pausing import pausing
from autopeft.training.ranks import average_over_processes, on_one_device, own_recipe
from autopeft.training.stopping import judged
from autopeft.training.template import template_path


def ranks_of(bench: Bench, segment: Segment, steps: int, scratch: str) -> dict[str, int] | None:
    """What the allocation finds before training; None where it finds nothing then."""
    architecture = segment.configuration.architecture
    if not found_before_training(architecture):
        return None
    bare = bench.base.copy(segment.seed)
    if loads_quantised(bench.spec.model):
        bare._hf_peft_config_loaded = True  # or no Trainer takes it, also to look through it alone
    plain = trainer_of(bench, segment, bare, steps, scratch)
    with refusals():
        return ranks_before_training(architecture, plain, seed=segment.seed)


def model_of(
    bench: Bench, segment: Segment, steps: int, ranks: dict[str, int] | None, scratch: str
) -> Any:
    if bench.spec.task.task_type == "CAUSAL_LM":
        refuse_what_is_broken(segment.configuration.architecture, bench.spec.model)

    def by_data(model: Any, config: PeftConfig) -> Any:
        plain = trainer_of(bench, segment, model, steps, scratch)
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


def strategy_in(
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


def trainer_of(bench: Bench, segment: Segment, model: Any, steps: int, scratch: str) -> Any:
    arguments = trainer_arguments(
        own_recipe(segment.configuration.recipe),
        seed=segment.seed,
        total_steps=steps,
        on_cpu=not torch.cuda.is_available(),
    )
    if arguments.get("fp16") and not torch.cuda.is_available():
        raise UnfitError("fp16 needs a GPU, and this worker has none: take bf16: true, or neither")
    if arguments.get("activation_offloading") and not torch.cuda.is_available():
        raise UnfitError("activation_offloading needs a GPU, and this worker has none: remove it")
    if arguments.get("tf32") and not is_torch_tf32_available():
        raise UnfitError("tf32 needs a GPU of NVIDIA's Ampere or newer: remove it")
    if template := arguments.get("chat_template_path"):
        folder = bench.spec.folder
        arguments["chat_template_path"] = template_path(template, folder=folder)
    trainer_class, arguments_class = bench.task.trainer()
    if EarlyStopping.of(segment.configuration.recipe) is not None:
        trainer_class = judged(trainer_class)
    with refusals():
        refuse_untrainable(segment.configuration, bench.shape, bench.spec.trainer)
        trainer = pausing(trainer_class)(
            model=model,
            args=on_one_device(arguments_class(output_dir=scratch, **arguments)),
            train_dataset=bench.train,
            eval_dataset=_evaluated(bench, segment),
            processing_class=copy.deepcopy(bench.base.processor),  # TRL changes it by the recipe
            data_collator=bench.task.collator(model, bench.base.processor),
        )
    if loads_quantised(bench.spec.model) and not (trainer.args.bf16 or trainer.args.fp16):
        with refusals():
            refuse_unmixed(segment.configuration, bench.spec.trainer)
    average_over_processes(trainer, by_tokens=bench.spec.task.task_type == "CAUSAL_LM")
    trainer.remove_callback(PrinterCallback)
    split = "validation" if bench.tests(segment) else None
    judge_early(trainer, segment.configuration.recipe, judge_of(bench.task, bench.own, split))
    return trainer


def _evaluated(bench: Bench, segment: Segment) -> Any:
    """The trainer prepares what it evaluates on, so the test split has to be there at once."""
    if not bench.tests(segment):
        return bench.validation
    return {"validation": bench.validation, "test": bench.test}
