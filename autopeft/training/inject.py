"""A configuration put into a copy of the base model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from peft import PeftConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import set_seed

from autopeft.domain.architecture import Configuration
from autopeft.domain.networks.data_inits import data_init
from autopeft.domain.networks.peft_config import peft_arguments
from autopeft.domain.recipes.recipe import MICRO_BATCH, batches, planned_steps
from autopeft.domain.space import Json
from autopeft.training.loading.model import Base
from autopeft.tuners.composite import inject_composite

_REFUSALS = (AssertionError, AttributeError, KeyError, NotImplementedError, TypeError, ValueError)
"""What PEFT and the trainers raise for what they cannot take."""


class UnfitError(ValueError):
    """The model or the trainer cannot take this configuration."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what is raised while a configuration is put together into UnfitError."""
    try:
        yield
    except UnfitError:
        raise
    except _REFUSALS as error:
        raise UnfitError(str(error) or type(error).__name__) from error


def peft_configs(
    configuration: Configuration,
    *,
    task_type: str,
    total_steps: int,
    head: Sequence[str] = (),
    ranks: Mapping[str, int] | None = None,
) -> tuple[PeftConfig, ...]:
    """PEFT's own config objects of a configuration, in the order of injection.

    Raises:
        ValueError: PEFT refuses the fields.
    """
    described = peft_arguments(
        configuration.architecture,
        task_type=task_type,
        total_steps=total_steps,
        head=head,
        ranks=ranks,
    )
    return tuple(
        PEFT_TYPE_TO_CONFIG_MAPPING[arguments.pop("peft_type")](**arguments)
        for arguments in described
    )


def build(
    base: Base,
    configuration: Configuration,
    *,
    task_type: str,
    total_steps: int,
    seed: int,
    ranks: Mapping[str, int] | None = None,
    by_data: Callable[[Any, PeftConfig], Any] | None = None,
) -> Any:
    """The model of a trial, the same bits for the same seed.

    Order: copy the base, draw the head, set the seed again, inject; an exported script the same.

    Args:
        ranks: target -> rank, where the allocation found them.
        by_data: puts a config whose initialisation looks at data into the model.

    Raises:
        UnfitError: the model cannot take it.
    """
    model = base.copy(seed)
    set_seed(seed)
    architecture = configuration.architecture
    if architecture.full_fine_tuning:
        model.requires_grad_(True)
        return model
    if architecture.frozen:
        for name in base.head:
            getattr(model, name).requires_grad_(True)
        return model
    with refusals():
        configs = peft_configs(
            configuration,
            task_type=task_type,
            total_steps=total_steps,
            head=base.head,
            ranks=ranks,
        )
        for config in configs:
            config.base_model_name_or_path = base.path
        if len(configs) > 1:
            return inject_composite(model, configs, head=base.head)
        if init := data_init(architecture.modules[0]):
            if by_data is None:
                raise ValueError(f"init {init} looks at data before training, got none")
            return by_data(model, configs[0])
        return get_peft_model(model, configs[0])


def total_steps(recipe: Mapping[str, Json], rows: int) -> int:
    """Optimiser steps of the full run on one device, as the Trainer counts them.

    Raises:
        UnfitError: every row would be dropped.
    """
    if not batches(recipe, rows):
        size = recipe.get(MICRO_BATCH[0], 8)
        raise UnfitError(
            f"dataloader_drop_last drops a batch that is not full, and {rows} rows fill none of "
            f"{size}: lower per_device_train_batch_size, or remove dataloader_drop_last"
        )
    return planned_steps(recipe, rows)
