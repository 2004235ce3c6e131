"""The shapes of a model: all that counting, placement and validation need to know of it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class TargetModule:
    """A module inside a transformer layer that PEFT can target.

    name: full name in the model (`bert.encoder.layer.0.attention.self.query`).
    kind: its name inside the layer (`attention.self.query`).
    type: class name (`Linear`, `Conv1D`, `LayerNorm`, ...).
    inputs, outputs: width of a linear map; for a norm both are its width.
    parameters: its own parameters, bias included.
    feedforward: IA3 scales the input of such a module, not its output.
    """

    name: str
    layer: int
    kind: str
    type: str
    inputs: int
    outputs: int
    parameters: int
    bias: bool
    feedforward: bool = False

    @property
    def linear(self) -> bool:
        return self.type in ("Linear", "Conv1D")


@dataclass(frozen=True)
class ModelShape:
    """What a model looks like, without its weights.

    kv_width: width of one layer's keys (key-value heads x head width), in values per token.
    head: names of the modules outside the backbone that are trained in full (`classifier`).
    head_parameters: their size; total_parameters: of the whole model, head included.
    bytes_per_parameter: of the dtype that adapters are stored in.
    backbone_bytes: of the dtype of the model itself, for what trains its own parameters.
    """

    model_type: str
    layers: int
    modules: tuple[TargetModule, ...]
    kv_width: int
    head: tuple[str, ...]
    head_parameters: int
    total_parameters: int
    bytes_per_parameter: int = 4
    backbone_bytes: int = 4

    @property
    def kinds(self) -> tuple[str, ...]:
        """Module kinds in model order, each once."""
        return tuple(dict.fromkeys(module.kind for module in self.modules))

    def matching(self, target: str) -> tuple[TargetModule, ...]:
        """The modules that one entry of `target_modules` names.

        `all-linear` is every linear map inside the layers; any other name matches a module's
        kind or the end of it (`query`, `attention.self.query`), or its full name.
        """
        if target == "all-linear":
            return tuple(module for module in self.modules if module.linear)
        return tuple(
            module
            for module in self.modules
            if module.name == target or module.kind == target or module.kind.endswith("." + target)
        )

    def matching_pattern(self, pattern: str) -> tuple[TargetModule, ...]:
        """The modules whose full name a regular expression matches, as PEFT reads a string.

        Raises:
            ValueError: it is no regular expression.
        """
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"target_modules {pattern!r} is neither a module nor a pattern: {error}"
            ) from error
        return tuple(module for module in self.modules if expression.fullmatch(module.name))
