"""Methods that share matrices among their targets, and so count over all of them at once."""

from collections.abc import Mapping
from math import ceil

from autopeft.domain.networks.counting.count import Count, Formula, Placed, Tensors

_LONG = 8  # bytes of an int64 index


def _lily(placed: Placed) -> Count:
    rank, stride = int(placed.field("r")), int(placed.field("stride_A"))
    many = int(placed.field("num_B"))
    groups: dict[tuple[str, int, int], int] = {}
    for target in placed.targets:
        like = (target.kind, target.inputs, target.outputs)
        groups[like] = groups.get(like, 0) + 1
    shared = sum(
        rank * (ceil(count / stride) * inputs + many * outputs)
        for (_, inputs, outputs), count in groups.items()
    )
    # What is shared is stored once for every target.
    kept = placed.sum(lambda t: rank * (t.inputs + many * t.outputs + many))
    return placed.count(shared + len(placed.targets) * rank * many, kept=kept)


def _widest(placed: Placed) -> tuple[int, int]:
    """The largest inputs and outputs: shared matrices fit every target."""
    return (
        max((target.inputs for target in placed.targets), default=0),
        max((target.outputs for target in placed.targets), default=0),
    )


def _vera(placed: Placed, samples: int = 1) -> Count:
    rank, (inputs, outputs) = int(placed.field("r")), _widest(placed)
    trained = placed.sum(lambda target: samples * rank + target.outputs)
    projection = rank * (samples * inputs + outputs) if placed.field("save_projection") else 0
    return placed.count(trained, kept=trained + projection)


def _pvera(placed: Placed) -> Count:
    return _vera(placed, samples=2)  # a mean and a variance of every rank


def _randlora(placed: Placed) -> Count:
    rank = int(placed.field("r"))
    trained = placed.sum(
        lambda t: ceil(min(t.inputs, t.outputs) / rank) * (rank + min(t.inputs, t.outputs))
    )
    if not placed.field("save_projection"):
        return placed.count(trained)
    least, most = sorted(_widest(placed))
    projection = rank * (least + most * ceil(least / rank))
    # PEFT stores the shared pair once for the model and once more for every target.
    return placed.count(trained, kept=trained + (len(placed.targets) + 1) * projection)


def _vblora(placed: Placed) -> Count:
    length, vectors = int(placed.field("vector_length")), int(placed.field("num_vectors"))
    rows = placed.sum(lambda t: int(placed.field("r")) * (t.inputs + t.outputs) // length)
    bank = vectors * length
    trained = rows * vectors + bank
    if not placed.field("save_only_topk_weights"):
        return placed.count(trained)
    top = int(placed.field("topk"))
    indices = Tensors(rows * top, _index_bytes(vectors))
    return placed.count(trained, kept=rows * (top - 1) + bank, beside=[indices])


def _index_bytes(vectors: int) -> int:
    return next((size for size, bits in ((1, 8), (2, 15), (4, 31)) if vectors < 2**bits), _LONG)


def _unilora(placed: Placed) -> Count:
    trained = int(placed.field("theta_d_length"))
    if not placed.field("save_indices"):
        return placed.count(trained)
    entries = placed.sum(lambda t: int(placed.field("r")) * (t.inputs + t.outputs))
    return placed.count(trained, kept=trained + entries, beside=[Tensors(entries, _LONG)])


def _tinylora(placed: Placed) -> Count:
    length = int(placed.field("u"))
    count = len(placed.targets)
    groups = max(1, round(count * (1 - float(placed.field("weight_tying")))))
    used = min(groups, ceil(count / max(1, count // groups)))
    kept = placed.sum(lambda t: _tiny_frozen(placed, t.inputs, t.outputs, length))
    return placed.count(used * length, kept=used * length + kept)


def _tiny_frozen(placed: Placed, inputs: int, outputs: int, length: int) -> int:
    """Singular vectors of one target, and the random projections into their span."""
    rank = min(int(placed.field("r")), inputs, outputs)
    projections = length * rank * rank if placed.field("save_projection") else 0
    return rank * (inputs + outputs) + projections


def _frod(placed: Placed) -> Count:
    trained = placed.sum(lambda t: t.inputs + _entries(placed, t.inputs))
    if not placed.field("save_projection"):
        return placed.count(trained)
    widths = {_role(target.name): target.inputs for target in placed.targets}.values()
    basis = Tensors(sum(width * width for width in widths), placed.shape.backbone_bytes)
    indices = Tensors(sum(2 * _entries(placed, width) + 2 for width in widths), _LONG)
    return placed.count(trained, beside=[basis, indices])


def _entries(placed: Placed, width: int) -> int:
    """Scattered entries off the diagonal: a share of all, one at least."""
    rate = float(placed.field("sparse_rate"))
    most = width * width - width
    return max(1, min(int(width * width * rate), most)) if rate > 0 and most else 0


def _role(name: str) -> str:
    """What FRoD takes for the same role in every layer: the last two parts of a module's name."""
    parts = name.split(".")
    if len(parts) == 1 or parts[-2].isdigit():
        return parts[-1]
    nested = parts[-2:] == ["output", "dense"] and parts[-3:-2] == ["attention"]
    return "attention_output" if nested else "_".join(parts[-2:])


FORMULAS: Mapping[str, Formula] = {
    "FROD": _frod,
    "LILY": _lily,
    "PVERA": _pvera,
    "RANDLORA": _randlora,
    "TINYLORA": _tinylora,
    "UNILORA": _unilora,
    "VBLORA": _vblora,
    "VERA": _vera,
}
