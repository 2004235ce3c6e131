"""Bottleneck adapters: serial (after a module) and parallel (beside it).

d_in, d_out: widths that the adapter reads and writes; m: bottleneck_size; n: phm_dim; s: scaling.
    A(h) = up(act(down(h)))        down: d_in -> m, up: m -> d_out, both with a bias

Serial [Houlsby et al. 2019, arXiv 1902.00751; Pfeiffer et al. 2021, arXiv 2005.00247]:
    h + s A(h), h the output of the wrapped module
Parallel [He et al. 2022, arXiv 2110.04366: the scaled parallel adapter]:
    f(x) + s A(x), x the input of the wrapped module f

An adapter has m (d_in + d_out) + m + d_out parameters, with PHM layers (autopeft.tuners.phm)
2 n^3 + d_in + d_out + 2 m + m + d_out. At first it changes nothing: `up` is zero.
"""

import math
from dataclasses import dataclass, field

from torch import Tensor, nn

from autopeft.tuners.config import TunerConfig
from autopeft.tuners.phm import PhmLinear

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "none": nn.Identity,
}


@dataclass
class BottleneckConfig(TunerConfig):
    """Fields of both bottleneck adapters.

    Raises:
        ValueError: a size below its least value, an unknown activation, or a `phm_dim` that does
            not divide `bottleneck_size`.
    """

    bottleneck_size: int = field(
        default=64, metadata={"help": "Width between the two layers of the adapter."}
    )
    act_fn: str = field(
        default="relu", metadata={"help": "One of relu, gelu, silu, tanh, none (a linear map)."}
    )
    scaling: float = field(
        default=1.0, metadata={"help": "Factor of the adapter's output, not trained."}
    )
    phm_dim: int = field(
        default=0,
        metadata={"help": "Kronecker terms n of Compacter's PHM layers; 0 is dense layers."},
    )
    init_weights: bool = field(
        default=True, metadata={"help": "Start as the base model; False draws `up` at random too."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bottleneck_size < 1:
            raise ValueError(f"bottleneck_size is 1 or more, got {self.bottleneck_size}: raise it")
        if self.act_fn not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"act_fn is one of {known}, got {self.act_fn!r}: choose one of these")
        if self.phm_dim < 0 or (self.phm_dim and self.bottleneck_size % self.phm_dim):
            raise ValueError(
                f"phm_dim is 0 or divides bottleneck_size={self.bottleneck_size}, "
                f"got {self.phm_dim}: change one of the two"
            )


class Bottleneck(nn.Module):  # type: ignore[misc]
    """A(h) of one adapter."""

    def __init__(self, d_in: int, d_out: int, config: BottleneckConfig) -> None:
        super().__init__()
        self.down = _layer(d_in, config.bottleneck_size, config.phm_dim)
        self.act = ACTIVATIONS[config.act_fn]()
        self.up = _layer(config.bottleneck_size, d_out, config.phm_dim)
        self.scaling = config.scaling
        if config.init_weights:
            nn.init.zeros_(self.up.t if isinstance(self.up, PhmLinear) else self.up.weight)

    def forward(self, h: Tensor) -> Tensor:
        """s A(h): (..., d_out) of h: (..., d_in)."""
        return self.scaling * self.up(self.act(self.down(h)))


def _layer(d_in: int, d_out: int, phm_dim: int) -> nn.Module:
    if phm_dim:
        return PhmLinear(d_in, d_out, phm_dim)
    linear = nn.Linear(d_in, d_out)
    nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
    nn.init.zeros_(linear.bias)
    return linear
