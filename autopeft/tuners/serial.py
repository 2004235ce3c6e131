"""SERIAL_ADAPTER: a bottleneck on the output of a module, h + s A(h).

The wrapped module is a linear layer, or a block that returns a hidden state, alone or first in a
tuple. Pfeiffer's placement is the second linear layer of each feed-forward block (Llama
`down_proj`), Houlsby's the output projection of the attention as well. In BERT both of these are
called `output.dense`: as an end of a name it means both, as the regex
`.*layer\\.\\d+\\.output\\.dense` the feed-forward block's alone.
"""

from dataclasses import dataclass

from torch import Tensor

from autopeft.tuners.bottleneck import Bottleneck, BottleneckConfig
from autopeft.tuners.layer import TunerLayer
from autopeft.tuners.registration import register
from autopeft.tuners.tuner import Tuner


@dataclass
class SerialAdapterConfig(BottleneckConfig):
    """Config of SERIAL_ADAPTER; see the module for placements, `bottleneck` for the formula."""

    peft_type: str = "SERIAL_ADAPTER"


class SerialAdapterLayer(TunerLayer):
    """h + s A(h); A has m (2 d_out) + m + d_out parameters."""

    prefix = "serial_"

    def new_adapter(self, config: SerialAdapterConfig) -> Bottleneck:
        """A bottleneck as wide as the output."""
        return Bottleneck(self.out_features, self.out_features, config)

    def adapt(self, adapter: Bottleneck, x: Tensor, output: Tensor) -> Tensor:
        """h + s A(h)."""
        return output + adapter(output)


class SerialAdapterTuner(Tuner):
    """PEFT's tuner of SERIAL_ADAPTER."""

    tuner_layer_cls = SerialAdapterLayer


register("SERIAL_ADAPTER", SerialAdapterConfig, SerialAdapterTuner, prefix="serial_")
