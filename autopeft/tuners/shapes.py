"""Widths and weights of the modules that tuners wrap.

A Hugging Face `Conv1D` (GPT-2) is a linear layer whose weight lies transposed: (in, out). Here
every weight has its output channels first.
"""

from collections.abc import Iterator

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D


def widths(module: nn.Module) -> tuple[int, int]:
    """Channels that a module reads and writes; of a block (`mlp`, `self_attn`) twice the same.

    Raises:
        ValueError: the module is neither linear, convolution nor norm, and its linear layers do
            not tell its width.
    """
    own = _own_widths(module)
    if own is not None:
        return own
    inner = [pair for child in _unadapted(module) if (pair := _linear_widths(child)) is not None]
    # The only linear layer of a block may read another stream, as BERT's `output` does.
    if len(inner) == 1 or (inner and inner[0][0] == inner[-1][1]):
        return inner[-1][1], inner[-1][1]
    raise ValueError(
        "an adapted block starts and ends with linear layers of one width, got "
        f"{type(module).__name__} with {inner or 'none'}: target a linear layer inside it"
    )


def _unadapted(module: nn.Module) -> Iterator[nn.Module]:
    """The module and all inside it, without the adapters of other tuners."""
    yield module
    for child in module.children():
        adapted = isinstance(child, BaseTunerLayer)
        yield from _unadapted(child.get_base_layer() if adapted else child)


def _own_widths(module: nn.Module) -> tuple[int, int] | None:
    linear = _linear_widths(module)
    if linear is not None:
        return linear
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.in_channels, module.out_channels
    weight = getattr(module, "weight", None)
    if isinstance(weight, torch.Tensor) and weight.dim() == 1:
        return len(weight), len(weight)
    return None


def _linear_widths(module: nn.Module) -> tuple[int, int] | None:
    if isinstance(module, Conv1D):
        return tuple(module.weight.shape)
    # By attribute, as quantised linears are no nn.Linear; their packed weight tells no shape.
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return module.in_features, module.out_features
    return None


def output_first(module: nn.Module) -> torch.Tensor:
    """A view of the module's weight with its output channels first, without gradient."""
    weight = module.weight.detach()
    return weight.T if isinstance(module, Conv1D) else weight


def linear_weight(module: nn.Module, wanted_by: str) -> torch.Tensor:
    """The weight (out, in) of a linear layer, without gradient.

    Raises:
        ValueError: the module is not linear, or its weight is quantised.
    """
    if isinstance(module, nn.Linear | Conv1D) and module.weight.is_floating_point():
        return output_first(module)
    raise ValueError(
        f"{wanted_by} adapts linear layers with a floating-point weight, got "
        f"{type(module).__name__}: name linear layers of an unquantised model in target_modules"
    )
