"""Where a module lives: layers of the model, and the modules in them that it wraps."""

from collections.abc import Iterable, Mapping

from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS, PEFT_TARGETS
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.space import Json

OWN_TARGETS: Mapping[str, str] = {
    "LAYER_PREFIX": "attention",
    "PARALLEL_ADAPTER": "feed_forward",
    "SERIAL_ADAPTER": "feed_forward.down",
}
"""What our own tuners target where a module names nothing: a role, the same on every model."""

_EMBEDDED = frozenset({"TRAINABLE_TOKENS"})  # they find the input embeddings by themselves


def wraps_layers(peft_type: str) -> bool:
    """Whether a method is put into modules of the layers, which `target_modules` names."""
    return "target_modules" in PEFT_DEFAULTS.get(peft_type, {}) and peft_type not in _EMBEDDED


def place(layers: Json, count: int) -> tuple[int, ...]:
    """The layer indices that a literal `layers` value means on a model of `count` layers.

    Raises:
        ValueError: it names a layer that the model does not have.
    """
    match layers:
        case "all" | None:
            chosen: Iterable[int] = range(count)
        case {"first": int(k)}:
            chosen = range(min(k, count)) if k <= count else [k - 1]
        case {"last": int(k)}:
            chosen = range(count - k, count) if k <= count else [count - k]
        case {"range": [int(first), int(last)]}:
            chosen = range(first, last + 1) if 0 <= first <= last < count else [first, last]
        case {"bits": list(on)} | list(on):
            chosen = on
        case _:
            raise ValueError(
                "layers takes all, {first: k}, {last: k}, {range: [a, b]}, {bits: shared | own} "
                f"or a list of layer numbers, got {layers!r}"
            )
    indices = tuple(sorted(set(chosen)))
    if indices and (indices[0] < 0 or indices[-1] >= count):
        raise ValueError(f"the model has layers 0 to {count - 1}, got {layers!r}: stay within them")
    return indices


def home(
    module: Mapping[str, Json], branch_layers: tuple[int, ...], shape: ModelShape
) -> tuple[tuple[int, ...], tuple[TargetModule, ...]]:
    """The layers that a literal module lives in, and what it wraps there."""
    peft_type = module["peft_type"]
    layers = place(module["layers"], shape.layers) if "layers" in module else branch_layers
    if isinstance(own := module.get("layers_to_transform"), int | list):
        layers = place([own] if isinstance(own, int) else own, shape.layers)
    if not wraps_layers(peft_type):
        return layers, ()
    matched = match_targets(module.get("target_modules"), shape, peft_type)
    here, wanted = {target.layer for target in matched}, set(layers)
    targets = tuple(target for target in matched if target.layer in wanted)
    return tuple(layer for layer in layers if layer in here), targets


def match_targets(
    target_modules: Json, shape: ModelShape, peft_type: str
) -> tuple[TargetModule, ...]:
    """The modules that `target_modules` means, in model order.

    A name, `all-linear`, a list of names, or as in PEFT a regular expression on full names;
    None: what PEFT itself targets in this model type, or our own tuners by role.

    Raises:
        ValueError: an entry matches nothing; the message names the kinds that exist.
    """
    if target_modules is None:
        by_model_type = PEFT_TARGETS.get(peft_type, {})
        target_modules = OWN_TARGETS.get(peft_type) or by_model_type.get(shape.model_type)
    entries = [target_modules] if isinstance(target_modules, str) else list(target_modules or ())
    if not entries:
        raise ValueError(
            f"target_modules is needed: name one of {', '.join(shape.kinds)} or all-linear"
        )
    for entry in entries:
        matched = shape.matching(entry)
        if not matched and isinstance(target_modules, str):
            matched = shape.matching_pattern(entry)
        if not matched:
            raise ValueError(
                f"target_modules {entry!r} matches no module inside the layers of this "
                f"{shape.model_type} model: it has {', '.join(shape.kinds)}"
            )
        if len(entries) == 1:
            return matched
    return shape.matching_any(tuple(entries))
