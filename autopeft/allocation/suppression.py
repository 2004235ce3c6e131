"""The effect of adapters turned down for a while, for any method that adapts modules.

A layer module with input x gives base(x) without its adapters and adapted(x) with them; turned
down to a share s it gives base(x) + s (adapted(x) - base(x)). Plain LoRA gets there by its
scaling, which costs nothing; every other method by running the module twice.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer

from autopeft.allocation.strategy import layer_of

_SPLIT = ("pissa", "olora", "corda", "lora_ga")
"""Initialisations that move a part of the pretrained weight into the adapter."""


def adapters_by_layer(model: Any) -> dict[int, tuple[Any, ...]]:
    """The adapted modules of each transformer layer, by layer index, ascending.

    Supported: every method that adapts modules inside layers, a layer's own prefix among them. Not
    supported: PEFT's prefixes and prompts, which wrap the model, and full fine-tuning, which has no
    effect to turn down.

    Raises:
        ValueError: an adapter holds a part of the pretrained weights.
    """
    for config in getattr(model, "peft_config", {}).values():
        kind = str(getattr(config, "init_lora_weights", ""))
        if kind.startswith(_SPLIT):
            raise ValueError(
                "an adapter that is turned down must hold nothing of the pretrained weights, got "
                f"init_lora_weights={kind!r}: use true, gaussian or eva"
            )
    found: dict[int, list[Any]] = {}
    for name, module in model.named_modules():
        layer = layer_of(name)
        if layer is not None and isinstance(module, BaseTunerLayer):
            found.setdefault(layer, []).append(module)
    return {layer: tuple(found[layer]) for layer in sorted(found)}


@contextmanager
def suppressed(modules: Iterable[Any], share: float) -> Iterator[None]:
    """Turn the adapters of these modules down to a share of their effect.

    Afterwards scalings have their own bits again, not a quotient's.
    """
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(_turned_down(module, share))
        yield


def _turned_down(module: Any, share: float) -> AbstractContextManager[None]:
    # A variant such as DoRA is not linear in its scaling.
    if isinstance(module, LoraLayer) and not module.lora_variant:
        return _scaled(module, share)
    return _blended(module, share)


@contextmanager
def _scaled(module: Any, share: float) -> Iterator[None]:
    own = dict(module.scaling)
    module.scaling.update({adapter: scaling * share for adapter, scaling in own.items()})
    try:
        yield
    finally:
        module.scaling.update(own)


@contextmanager
def _blended(module: Any, share: float) -> Iterator[None]:
    # A layer prefix is a child of what it adapts, and is never called itself.
    host = module if hasattr(module, "base_layer") else module.get_base_layer()

    def blend(host: Any, args: Any, kwargs: Any, adapted: Any) -> Any:
        module._disable_adapters = True
        try:
            base = host.forward(*args, **kwargs)
        finally:
            module._disable_adapters = False
        return _between(base, adapted, share)

    handle = host.register_forward_hook(blend, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _between(base: Any, adapted: Any, share: float) -> Any:
    """An attention module gives a tuple; what is no floating tensor in it has no middle."""
    if isinstance(adapted, tuple):
        return tuple(_between(b, a, share) for b, a in zip(base, adapted, strict=True))
    if isinstance(adapted, torch.Tensor) and adapted.is_floating_point():
        return base + share * (adapted - base)
    return adapted
