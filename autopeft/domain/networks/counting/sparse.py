"""Methods that train vectors, scattered entries, or coefficients of a transform."""

from collections.abc import Mapping
from math import prod

from autopeft.domain.model import TargetModule
from autopeft.domain.networks.counting.count import Count, Formula, Placed, Tensors, each, matching

_INDEX = 4  # bytes of the int32 positions
_ROAD = {"road_1": 1, "road_2": 2, "road_4": 4}


def _ia3(placed: Placed) -> Count:
    at_inputs = frozenset(placed.module.fields.get("feedforward_modules") or ())
    return placed.count(placed.sum(lambda t: t.inputs if t.name in at_inputs else t.outputs))


def _norms(placed: Placed) -> Count:
    trained = placed.sum(lambda target: target.parameters)
    return Count(trained, (Tensors(trained, placed.shape.backbone_bytes),))


def _fourier(placed: Placed, target: TargetModule) -> int:
    own = matching(placed.field("n_frequency_pattern"), target.name, inside=True)
    return int(placed.field("n_frequency") if own is None else own)


def _wave(placed: Placed, target: TargetModule) -> int:
    if placed.field("proportional_parameters"):
        share = prod((target.inputs, target.outputs)) / placed.sum(lambda t: t.inputs * t.outputs)
        return max(1, round(share * int(placed.field("n_frequency")) * len(placed.targets)))
    own = matching(placed.field("n_frequency_pattern"), target.name)
    return int(placed.field("n_frequency") if own is None else own)


def circulant_block(placed: Placed, target: TargetModule) -> int:
    """C3A's block size at one target."""
    own = matching(placed.field("block_size_pattern"), target.name, inside=True)
    return int(placed.field("block_size") if own is None else own)


def _circulant(placed: Placed, target: TargetModule) -> int:
    return target.inputs * target.outputs // circulant_block(placed, target)


def _shira(placed: Placed) -> Count:
    trained = placed.sum(lambda t: int(placed.field("r")) * (t.inputs + t.outputs))
    return placed.count(trained, beside=[Tensors(2 * trained, _INDEX)])


def _supertuning(placed: Placed) -> Count:
    density = 1 - float(placed.field("sparsity"))
    entries = placed.sum(lambda t: int(t.inputs * t.outputs * density))
    rank = int(placed.field("r") or 0)
    trained = entries + placed.sum(lambda t: rank * (t.inputs + t.outputs))
    kept = entries if placed.field("save_precomputed_indices") else 0
    return placed.count(trained, beside=[Tensors(kept, _INDEX)])


def _road(placed: Placed, target: TargetModule) -> int:
    return 2 * (target.outputs * _ROAD[placed.field("variant")] // 2)


def _glora(placed: Placed) -> Count:
    trained = placed.sum(lambda target: sum(_paths(placed, target)))
    zeros = placed.sum(lambda target: _zeros(placed, target))
    return placed.count(trained, beside=[Tensors(zeros, placed.shape.backbone_bytes)])


def _paths(placed: Placed, target: TargetModule) -> tuple[int, int, int]:
    """What GLoRA trains: in A and B, in C, in D and E; the last two shift a bias."""
    rank = int(placed.field("r"))
    both = {"lora": rank * (target.inputs + target.outputs), "vector": target.outputs}
    prompt = {"lora": rank * (target.inputs + 1), "vector": target.inputs}
    shift = {"vector": target.outputs, "constant": 1}
    return (
        2 * {**both, "constant": 1}.get(placed.field("config_A_B"), 0),
        prompt.get(placed.field("config_C"), 0) if target.bias else 0,
        2 * shift.get(placed.field("config_D_E"), 0) if target.bias else 0,
    )


def _zeros(placed: Placed, target: TargetModule) -> int:
    """Untrained paths are stored all the same, as full tensors of zeros."""
    full = (2 * target.inputs * target.outputs, target.inputs, 2 * target.outputs)
    trained = _paths(placed, target)
    return sum(size for size, used in zip(full, trained, strict=True) if not used)


FORMULAS: Mapping[str, Formula] = {
    "BEFT": each(lambda p, t: t.outputs),
    "C3A": each(_circulant),
    "FOURIERFT": each(_fourier),
    "GLORA": _glora,
    "IA3": _ia3,
    "LN_TUNING": _norms,
    "ROAD": each(_road),
    "SHIRA": _shira,
    "SUPERTUNING": _supertuning,
    "WAVEFT": each(_wave),
}
