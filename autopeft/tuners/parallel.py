"""PARALLEL_ADAPTER: a bottleneck beside a module, f(x) + s A(x).

The wrapped module f is a feed-forward block (`mlp`, `DenseReluDense`), an attention block
(`self_attn`) or a single linear layer. BERT and its kin have no feed-forward module, their block is
    LayerNorm(dropout(dense(h)) + x)        in `output`, called with (h, input_tensor=x)
where passing x + s A(x) for x is the adapter over the whole block, exactly. So a module whose
`forward` takes an `input_tensor` is wrapped that way. The end of a name `output` means the
attention's as well; the regex `.*layer\\.\\d+\\.output` is the feed-forward block's alone.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from autopeft.tuners.bottleneck import Bottleneck, BottleneckConfig
from autopeft.tuners.layer import TunerLayer
from autopeft.tuners.registration import register
from autopeft.tuners.tuner import Tuner

_RESIDUAL = "input_tensor"


@dataclass
class ParallelAdapterConfig(BottleneckConfig):
    """Config of PARALLEL_ADAPTER; see the module for placements, `bottleneck` for the formula."""

    peft_type: str = "PARALLEL_ADAPTER"
    scaling: float = field(
        default=4.0, metadata={"help": "Factor of the adapter's output, not trained."}
    )


class ParallelAdapterLayer(TunerLayer):
    """f(x) + s A(x); A has m (d_in + d_out) + m + d_out parameters."""

    prefix = "parallel_"

    def new_adapter(self, config: ParallelAdapterConfig) -> Bottleneck:
        """A bottleneck from the width of x to that of the output."""
        d_in = self.out_features if self._takes_residual() else self.in_features
        return Bottleneck(d_in, self.out_features, config)

    def adapt(self, adapter: Bottleneck, x: Tensor, output: Tensor) -> Tensor:
        """f(x) + s A(x)."""
        return output + adapter(x)

    def adapted(self, adapters: Sequence[nn.Module], *args: Any, **kwargs: Any) -> Any:
        """As the base class; of a module that adds x itself, its result with x + s A(x)."""
        if not self._takes_residual():
            return super().adapted(adapters, *args, **kwargs)
        call = inspect.signature(self.get_base_layer().forward).bind(*args, **kwargs)
        x = call.arguments[_RESIDUAL]
        call.arguments[_RESIDUAL] = self.apply_all(adapters, x, x)
        return self.base_layer(*call.args, **call.kwargs)

    def _takes_residual(self) -> bool:
        return _RESIDUAL in inspect.signature(self.get_base_layer().forward).parameters


class ParallelAdapterTuner(Tuner):
    """PEFT's tuner of PARALLEL_ADAPTER."""

    tuner_layer_cls = ParallelAdapterLayer


register("PARALLEL_ADAPTER", ParallelAdapterConfig, ParallelAdapterTuner, prefix="parallel_")
