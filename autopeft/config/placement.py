"""The checks of `layers:`, before and after the model is known."""

from collections.abc import Iterator, Mapping

from autopeft.config.tree import Complain, options_of, told
from autopeft.config.values import is_whole
from autopeft.domain.methods.placement import place
from autopeft.domain.model import ModelShape
from autopeft.domain.space import Bits, Choice, Json, Range

_FORMS = (
    "layers takes all, {first: k}, {last: k}, {range: [a, b]} with a <= b, {bits: shared}, "
    "{bits: own} or a list of layer numbers"
)


def check_layers(layers: Json, path: str, complain: Complain) -> None:
    """Complain of every option that is no placement."""
    for suffix, value in options_of(layers):
        match value:
            case "all" | {"bits": "shared" | "own"}:
                continue
            case {"first": k} | {"last": k} if len(value) == 1:
                _check_count(k, f"{path}{suffix}.{next(iter(value))}", complain)
            case {"range": [int(a), int(b)]} if 0 <= a <= b and len(value) == 1:
                continue
            case list(numbers) if numbers and all(is_whole(number, 0) for number in numbers):
                continue
            case _:
                complain(path + suffix, f"{_FORMS}, got {told(value)}")


def _check_count(k: Json, path: str, complain: Complain) -> None:
    for suffix, option in options_of(k):
        low = option.low if isinstance(option, Range) else option
        whole = option.integer if isinstance(option, Range) else is_whole(low)
        if not whole or low < 1:
            complain(path + suffix, f"takes a number of layers from 1, got {told(option)}")


def bind_layers(layers: Json, path: str, shape: ModelShape, complain: Complain) -> Json:
    """A placement on this model: bits get their length, and every layer must be there."""
    if isinstance(layers, Choice):
        return Choice(
            tuple(
                bind_layers(option, f"{path}.choice[{i}]", shape, complain)
                for i, option in enumerate(layers.options)
            )
        )
    if layers in ({"bits": "shared"}, {"bits": "own"}):
        return {"bits": Bits(shape.layers)}
    for suffix, literal in _placements(layers):
        try:
            place(literal, shape.layers)
        except ValueError as error:
            complain(path + suffix, str(error))
    return layers


def _placements(layers: Json) -> Iterator[tuple[str, Json]]:
    """The literal values of a `layers` node with their paths, a varying k at its largest."""
    if isinstance(layers, Mapping) and not isinstance(layers.get("range"), list):
        ((key, k),) = layers.items()
        for suffix, value in options_of(k):
            yield f".{key}{suffix}", {key: int(value.high) if isinstance(value, Range) else value}
    else:
        yield "", layers


def reached_layers(module: Mapping[str, Json], layers: Json, count: int) -> frozenset[int]:
    """The layers that a bound module can live in; every one where it makes no sense."""
    own = module.get("layers_to_transform")
    node = module.get("layers", layers) if own is None else [own] if isinstance(own, int) else own
    found: set[int] = set()
    for _, option in options_of(node):
        if isinstance(option, Mapping) and isinstance(option.get("bits"), Bits):
            return frozenset(range(count))
        for _, literal in _placements(option):
            try:
                found |= set(place(literal, count))
            except ValueError:
                return frozenset(range(count))
    return frozenset(found)
