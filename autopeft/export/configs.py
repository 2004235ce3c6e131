"""A configuration as PEFT's own config object, for `get_peft_model`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.peft_config import OWN, peft_arguments
from autopeft.domain.space import Json

if TYPE_CHECKING:
    from peft import PeftConfig


def peft_config(
    configuration: Configuration,
    shape: ModelShape,
    *,
    task_type: str,
    total_steps: int,
    ranks: Mapping[str, int] | None = None,
) -> "PeftConfig":
    """The config of a configuration's module; its targets are full names in the base model.

    Args:
        total_steps: optimiser steps of the run; AdaLoRA's schedule needs them.
        ranks: target -> rank, where the allocation finds them before training.

    Raises:
        ExportError: the configuration trains no adapter, or more than a single PEFT config says.
    """
    described = config_arguments(
        configuration, shape, task_type=task_type, total_steps=total_steps, ranks=ranks
    )
    if len(described) > 1:
        raise ExportError(
            f"this configuration is no single PEFT config, it has {len(described)} modules: "
            "export it, and put it into a model with the load_composite that lies there"
        )
    (arguments,) = described
    return config_class(arguments.pop("peft_type"))(**arguments)


def config_arguments(
    configuration: Configuration,
    shape: ModelShape,
    *,
    task_type: str,
    total_steps: int,
    ranks: Mapping[str, int] | None = None,
) -> tuple[dict[str, Json], ...]:
    """The arguments of each module's config, `peft_type` among them, in the order of injection.

    ranks: target -> rank, where the allocation finds them before training.

    Raises:
        ExportError: the configuration trains no adapter, or PEFT cannot take its modules together.
    """
    architecture = configuration.architecture
    if architecture.full_fine_tuning or architecture.frozen:
        what = "full fine-tuning" if architecture.full_fine_tuning else "the frozen model"
        raise ExportError(f"a PEFT config needs a PEFT module, got {what}: choose another trial")
    try:
        return peft_arguments(
            architecture,
            task_type=task_type,
            total_steps=total_steps,
            head=shape.head,
            ranks=ranks,
        )
    except ValueError as error:
        raise ExportError(f"PEFT cannot take this configuration: {error}") from error


def config_class(peft_type: str) -> type["PeftConfig"]:
    """PEFT's config class of a peft_type."""
    if peft_type in OWN:
        import autopeft.tuners  # noqa: F401 (makes them known)
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    found: type[PeftConfig] = PEFT_TYPE_TO_CONFIG_MAPPING[peft_type]
    return found
