"""The shapes of a model: all that counting, placement and validation need to know of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class TargetModule:
    """A module inside a transformer layer that PEFT can target.

    name: full name in the model (`bert.encoder.layer.0.attention.self.query`).
    kind: its name inside the layer (`attention.self.query`).
    type: class name (`Linear`, `Conv1D`, `LayerNorm`, ...).
    inputs, outputs: width of a linear map; for a norm both are its width.
    parameters: its own parameters, bias included.
    role: what it does in its layer, by one name for all architectures; "" where none is known.
    """

    name: str
    layer: int
    kind: str
    type: str
    inputs: int
    outputs: int
    parameters: int
    bias: bool
    role: str = ""

    @property
    def linear(self) -> bool:
        return self.type in ("Linear", "Conv1D")

    @property
    def norm(self) -> bool:
        return self.role == "norm"

    @property
    def block(self) -> bool:
        """A whole block of the layer, with modules of its own."""
        return self.role in ("attention", "cross_attention", "feed_forward")

    @property
    def feedforward(self) -> bool:
        """IA3 scales the input of such a module, not its output."""
        return self.role == "feed_forward.down"


@dataclass(frozen=True)
class Embeddings:
    """The input embeddings.

    rows: tokens of the vocabulary; width: of one token, in values.
    copies: modules that hold this matrix, itself among them (2 where the output embeddings are
    tied to it).
    """

    rows: int
    width: int
    copies: int = 1


@dataclass(frozen=True)
class ModelShape:
    """What a model looks like, without its weights.

    layers: of an encoder and a decoder together, the decoder's after the encoder's.
    embeddings: of text; None where the model reads none.
    blocks: whole attention and feed-forward blocks, for methods that wrap one.
    kv_width: width of one layer's keys (key-value heads x head width), in values per token.
    head: names of the modules outside the backbone that are trained in full (`classifier`).
    head_parameters: their size; total_parameters: of the whole model, head included.
    bytes_per_parameter: of the dtype that adapters are stored in.
    backbone_bytes: of the dtype of the model itself, for what trains its own parameters.
    heads: of one attention, for queries; 0 where they are not known.
    dropout, attention_dropout: of the backbone while it trains, which costs memory.
    positions: tokens of the longest row that it reads; 0: there is no such limit.
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
    blocks: tuple[TargetModule, ...] = ()
    embeddings: Embeddings | None = None
    heads: int = 0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    positions: int = 0

    @cached_property
    def width(self) -> int:
        """Values of one token between two layers."""
        for module in self.modules:
            if module.feedforward:
                return module.outputs
        return max((min(module.inputs, module.outputs) for module in self.modules), default=0)

    @cached_property
    def feedforward(self) -> frozenset[str]:
        """Full names of the modules whose input IA3 scales."""
        return frozenset(module.name for module in self.modules if module.feedforward)

    @cached_property
    def everything(self) -> tuple[TargetModule, ...]:
        """All that a method can wrap: the modules, then the blocks."""
        return (*self.modules, *self.blocks)

    @cached_property
    def encodes_and_decodes(self) -> bool:
        """Whether it has an encoder and a decoder, which read different texts."""
        parts = {part for module in self.modules for part in module.name.split(".")}
        return {"encoder", "decoder"} <= parts

    @property
    def kinds(self) -> tuple[str, ...]:
        """Module kinds in model order, each once."""
        return tuple(dict.fromkeys(module.kind for module in self.modules))

    def matching(self, target: str) -> tuple[TargetModule, ...]:
        """The modules that one entry of `target_modules` names.

        `all-linear` is every linear map inside the layers; any other name matches a module's
        kind or the end of it (`query`, `attention.self.query`), its role (`attention.query`), or
        its full name.
        """
        if target not in self._matched:  # a search asks for a few names thousands of times
            self._matched[target] = self._matching(target)
        return self._matched[target]

    def matching_any(self, targets: tuple[str, ...]) -> tuple[TargetModule, ...]:
        """The modules that at least one of several entries names, in model order."""
        if targets not in self._matched_together:
            names = {module.name for target in targets for module in self.matching(target)}
            self._matched_together[targets] = tuple(m for m in self.everything if m.name in names)
        return self._matched_together[targets]

    @cached_property
    def by_name(self) -> dict[str, TargetModule]:
        """Every module and block by its full name."""
        return {found.name: found for found in self.everything}

    def named(self, names: Iterable[str]) -> list[TargetModule]:
        """The modules and blocks of these full names; those it does not have are left out."""
        return [self.by_name[name] for name in names if name in self.by_name]

    @cached_property
    def _matched(self) -> dict[str, tuple[TargetModule, ...]]:
        return {}

    @cached_property
    def _matched_together(self) -> dict[tuple[str, ...], tuple[TargetModule, ...]]:
        return {}

    def _matching(self, target: str) -> tuple[TargetModule, ...]:
        if target == "all-linear":
            return tuple(module for module in self.modules if module.linear)
        return tuple(
            module
            for module in self.everything
            if target
            and (
                target in (module.name, module.kind, module.role)
                or module.kind.endswith("." + target)
            )
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
        return tuple(module for module in self.everything if expression.fullmatch(module.name))


NO_MODEL = ModelShape(
    model_type="",
    layers=0,
    modules=(),
    kv_width=0,
    head=(),
    head_parameters=0,
    total_parameters=0,
)
"""Of a study whose space file names none: only its own training code knows what is trained."""
