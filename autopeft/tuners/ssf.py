"""SSF: scale and shift the output of a linear, convolution or norm.

[Lian et al. 2022, arXiv 2210.08823, section 3.2]

y: (..., d) output of the wrapped module, of a convolution (batch, d, ...).
gamma, beta: (d,)
    gamma * y + beta

2 d parameters a module. gamma starts at one and beta at zero, where the authors draw both with a
standard deviation of .02: the start is the base model, exactly. Merged: W <- gamma W row by row,
b <- gamma b + beta.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autopeft.tuners.config import TunerConfig
from autopeft.tuners.merging import MergingLayer, Weights
from autopeft.tuners.registration import register
from autopeft.tuners.tuner import Tuner


@dataclass
class SSFConfig(TunerConfig):
    """Config of SSF; `target_modules` names linears, convolutions and norms."""

    peft_type: str = "SSF"


class ScaleAndShift(nn.Module):  # type: ignore[misc]
    """gamma and beta of one module with d outputs."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(d))
        self.beta = nn.Parameter(torch.zeros(d))


class SSFLayer(MergingLayer):
    """gamma * y + beta."""

    prefix = "ssf_"

    def new_adapter(self, config: SSFConfig) -> ScaleAndShift:
        """One gamma and beta an output channel."""
        return ScaleAndShift(self.out_features)

    def adapt(self, adapter: ScaleAndShift, x: Tensor, output: Tensor) -> Tensor:
        """gamma * y + beta, along the channels."""
        gamma, beta = adapter.gamma, adapter.beta
        if isinstance(self.get_base_layer(), nn.modules.conv._ConvNd):
            behind = (1,) * (output.dim() - 2)
            gamma, beta = gamma.view(-1, *behind), beta.view(-1, *behind)
        return gamma * output + beta

    def check_merge(self) -> None:
        """As the base class.

        Raises:
            ValueError: the module has no bias, which is where the shift would go.
        """
        super().check_merge()
        if getattr(self.get_base_layer(), "bias", None) is None:
            raise ValueError(
                f"SSF is merged into a weight and a bias, {self.key} has no bias: keep the adapter "
                "beside the model"
            )

    def merged_weights(
        self, adapter: ScaleAndShift, weight: Tensor, bias: Tensor | None
    ) -> Weights:
        """gamma W and gamma b + beta."""
        gamma = adapter.gamma.view(-1, *(1,) * (weight.dim() - 1))
        return gamma * weight, adapter.gamma * bias + adapter.beta


class SSFTuner(Tuner):
    """PEFT's tuner of SSF."""

    tuner_layer_cls = SSFLayer


register("SSF", SSFConfig, SSFTuner, prefix="ssf_")
