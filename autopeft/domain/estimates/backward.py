"""Which modules of a model the backward pass reaches.

Gradients start at the loss and end at the lowest trained module: what lies below it needs neither
a backward pass nor anything kept from the forward pass (torch's autograd records only what leads
to a leaf that requires a gradient).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.networks.allocation import deployed
from autopeft.domain.networks.capabilities import CAPABILITIES, MODEL


@dataclass(frozen=True)
class Reached:
    """The backbone of an architecture, cut where the backward pass ends.

    above: modules that gradients pass, in model order. below: those that only compute forward.
    adapted: (method, target) pairs that train something, targets being modules of the layers or
    whole blocks. everything: the backbone's own weights are trained.
    """

    above: tuple[TargetModule, ...]
    below: tuple[TargetModule, ...]
    adapted: tuple[tuple[Module, TargetModule], ...]
    everything: bool

    @property
    def layers(self) -> int:
        """Layers that gradients pass, in part or in full."""
        return len({module.layer for module in self.above})


def reached(architecture: Architecture, shape: ModelShape, *, checkpointing: bool) -> Reached:
    """checkpointing: then transformers lets the embeddings' output require gradients
    (`enable_input_require_grads`), and every layer is passed."""
    if architecture.full_fine_tuning:
        return Reached(shape.modules, (), (), True)
    modules = deployed(architecture)
    adapted = tuple(
        (module, target) for module in modules for target in shape.named(module.targets)
    )
    prompts = any(MODEL in CAPABILITIES[module.peft_type].wraps for module in modules)
    if prompts or checkpointing:
        return Reached(shape.modules, (), adapted, False)
    lowest = _lowest([target for _, target in adapted], shape.modules)
    return Reached(shape.modules[lowest:], shape.modules[:lowest], adapted, False)


def _lowest(targets: Sequence[TargetModule], modules: Sequence[TargetModule]) -> int:
    """Position of the first module that is a target, or lies in a block that is one."""
    names = {target.name for target in targets}
    blocks = tuple(f"{target.name}." for target in targets if target.block)
    for position, module in enumerate(modules):
        if module.name in names or (blocks and module.name.startswith(blocks)):
            return position
    return len(modules)
