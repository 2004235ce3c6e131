"""SVFIT: train the largest singular values of a weight [Sun et al. 2024, arXiv 2409.05926].

W: (d_out, d_in) weight of a linear layer, W = U diag(sigma) V^T with sigma descending.
delta: (r,) change of the first r singular values, zero at first.
    W' = W + U_r diag(delta) V_r^T

r parameters a matrix, and the r numbers are all that is stored: U_r and V_r are computed again from
the base weight when the adapter is made. Signs of the singular vectors differ between computers,
but u_i v_i^T does not where the r singular values are distinct, as those of trained weights are.
That the change is trained, not the value itself, makes the start the base model bit for bit and
keeps a stored adapter free of the rounding of sigma; the gradients are the same.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autopeft.tuners.config import TunerConfig
from autopeft.tuners.merging import MergingLayer, Weights
from autopeft.tuners.registration import register
from autopeft.tuners.shapes import linear_weight
from autopeft.tuners.tuner import Tuner


@dataclass
class SVFitConfig(TunerConfig):
    """Config of SVFIT; `target_modules` names linear layers."""

    peft_type: str = "SVFIT"
    r: int = field(default=16, metadata={"help": "Singular values to train, the largest."})


class SingularValues(nn.Module):  # type: ignore[misc]
    """delta of one matrix, and the singular vectors that it stands between.

    Raises:
        ValueError: the matrix has less than r singular values.
    """

    def __init__(self, weight: Tensor, r: int) -> None:
        super().__init__()
        if not 1 <= r <= min(weight.shape):
            raise ValueError(
                f"SVFIT's r is from 1 to the lesser side of the matrix, got r={r} for "
                f"{tuple(weight.shape)}: lower r"
            )
        U, _, Vh = torch.linalg.svd(weight.float(), full_matrices=False)
        self.delta = nn.Parameter(torch.zeros(r))
        self.register_buffer("U", U[:, :r].contiguous(), persistent=False)
        self.register_buffer("Vh", Vh[:r].contiguous(), persistent=False)


class SVFitLayer(MergingLayer):
    """W x + U_r diag(delta) V_r^T x."""

    prefix = "svfit_"

    def new_adapter(self, config: SVFitConfig) -> SingularValues:
        """Takes a singular value decomposition, exact and therefore slow on large matrices."""
        return SingularValues(linear_weight(self.get_base_layer(), "SVFIT"), config.r)

    def adapt(self, adapter: SingularValues, x: Tensor, output: Tensor) -> Tensor:
        """W x + U_r diag(delta) V_r^T x."""
        U, Vh = adapter.U.to(x.dtype), adapter.Vh.to(x.dtype)
        return output + (x @ Vh.T * adapter.delta) @ U.T

    def merged_weights(
        self, adapter: SingularValues, weight: Tensor, bias: Tensor | None
    ) -> Weights:
        """W + U_r diag(delta) V_r^T."""
        return weight + (adapter.U * adapter.delta) @ adapter.Vh, bias


class SVFitTuner(Tuner):
    """PEFT's tuner of SVFIT."""

    tuner_layer_cls = SVFitLayer


register("SVFIT", SVFitConfig, SVFitTuner, prefix="svfit_")
