"""PACA: train r randomly chosen columns of a weight [Woo et al. 2025, PaCA, arXiv 2503.01905].

W: (d_out, d_in) weight of a linear layer; C: r of its d_in columns, drawn without replacement.
delta: (r, d_out) change of these columns, zero at first.
    y = W x + delta^T x_C        W'[:, C] = W[:, C] + delta^T

r d_out trained parameters a matrix, and the r column numbers stored as int64 beside them: a saved
adapter does not depend on torch drawing the same columns again. The backward pass keeps x_C alone
for the adapter, r / d_in of the activation that LoRA keeps.
"""

import zlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autopeft.tuners.config import TunerConfig
from autopeft.tuners.merging import MergingLayer, Weights
from autopeft.tuners.registration import register
from autopeft.tuners.shapes import linear_weight
from autopeft.tuners.tuner import Tuner


@dataclass
class PacaConfig(TunerConfig):
    """Config of PACA; `target_modules` names linear layers."""

    peft_type: str = "PACA"
    r: int = field(default=8, metadata={"help": "Columns (input channels) to train a matrix."})
    seed: int = field(default=0, metadata={"help": "Seed of the choice of columns."})


class Columns(nn.Module):  # type: ignore[misc]
    """The chosen columns of one (d_out, d_in) matrix and their change.

    Raises:
        ValueError: the matrix has less than r columns.
    """

    columns: Tensor

    def __init__(self, d_out: int, d_in: int, r: int, generator: torch.Generator) -> None:
        super().__init__()
        if not 1 <= r <= d_in:
            raise ValueError(
                f"PACA's r is from 1 to the number of columns, got r={r} for {d_in} columns: "
                "lower r"
            )
        chosen = torch.randperm(d_in, generator=generator)[:r].sort().values
        self.register_buffer("columns", chosen)
        self.delta = nn.Parameter(torch.zeros(r, d_out))


class PacaLayer(MergingLayer):
    """W x + delta^T x_C."""

    prefix = "paca_"

    def new_adapter(self, config: PacaConfig) -> Columns:
        """Columns by the config's seed and the module's name, so that every module has its own."""
        d_out, d_in = linear_weight(self.get_base_layer(), "PACA").shape
        seed = zlib.crc32(f"{config.seed} {self.key}".encode())
        return Columns(d_out, d_in, config.r, torch.Generator().manual_seed(seed))

    def adapt(self, adapter: Columns, x: Tensor, output: Tensor) -> Tensor:
        """W x + delta^T x_C."""
        return output + x[..., adapter.columns] @ adapter.delta

    def merged_weights(self, adapter: Columns, weight: Tensor, bias: Tensor | None) -> Weights:
        """W with delta added to its chosen columns."""
        return weight.index_add(1, adapter.columns, adapter.delta.T), bias


class PacaTuner(Tuner):
    """PEFT's tuner of PACA."""

    tuner_layer_cls = PacaLayer


register("PACA", PacaConfig, PacaTuner, prefix="paca_")
