"""The checks of `layers:`, before the model is known."""

from autopeft.config.tree import Complain, options_of, told
from autopeft.domain.space import Json, Range

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
            case list(numbers) if numbers and all(_index(number) for number in numbers):
                continue
            case _:
                complain(path + suffix, f"{_FORMS}, got {told(value)}")


def _check_count(k: Json, path: str, complain: Complain) -> None:
    for suffix, option in options_of(k):
        low = option.low if isinstance(option, Range) else option
        whole = option.integer if isinstance(option, Range) else _index(low)
        if not whole or low < 1:
            complain(path + suffix, f"takes a number of layers from 1, got {told(option)}")


def _index(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
