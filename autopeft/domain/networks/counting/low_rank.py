"""Methods whose update is a product of thin matrices: LoRA and its relatives."""

from collections.abc import Mapping

from autopeft.domain.model import TargetModule
from autopeft.domain.networks.counting.count import Count, Formula, Placed, Tensors, each
from autopeft.domain.networks.data_inits import rewrites_base

_CAPPED_INITS = ("pissa", "olora")  # singular or orthogonal vectors: no more than there are


def _lora(placed: Placed) -> Count:
    kept = placed.sum(lambda target: _matrices(placed, target))
    vectors = sum(bool(placed.field(name)) for name in ("use_dora", "lora_bias"))
    if vectors:
        kept += vectors * placed.sum(lambda target: target.outputs)
    if placed.field("bias") == "lora_only":
        kept += placed.sum(lambda target: target.outputs if target.bias else 0)
    if placed.field("kasa_config") is not None:
        kept += placed.sum(lambda target: _lora_rank(placed, target))
    trained = kept
    if placed.field("init_lora_weights") == "mica":  # B holds singular vectors, frozen
        trained -= placed.sum(lambda target: _lora_rank(placed, target) * target.outputs)
    if rewrites_base(placed.module):  # stored beside the adapter that it started from
        kept += placed.sum(lambda t: _lora_rank(placed, t) * (t.inputs + t.outputs))
    if not placed.field("use_dora"):
        return placed.count(trained, kept=kept)
    magnitudes = placed.sum(lambda target: target.outputs)  # in float32 whatever the rest is
    return placed.count(trained, kept=kept - magnitudes, beside=(Tensors(magnitudes, 4),))


def _matrices(placed: Placed, target: TargetModule) -> int:
    """A and B."""
    rank = _lora_rank(placed, target)
    blocks_a, blocks_b = _blocks(placed, target)
    return rank * (target.inputs // blocks_a) + target.outputs * (rank // blocks_b)


def _lora_rank(placed: Placed, target: TargetModule) -> int:
    rank = placed.rank(target)
    if str(placed.field("init_lora_weights")).startswith(_CAPPED_INITS):
        return min(rank, target.inputs, target.outputs)
    return rank


def _blocks(placed: Placed, target: TargetModule) -> tuple[int, int]:
    """Diagonal blocks of A and of B (BD-LoRA); one where the matrix is full."""
    options = placed.field("use_bdlora")
    if not options:
        return 1, 1
    blocks = int(options.get("nblocks", 1))
    named = [
        any(part in target.name for part in options.get(f"target_modules_bd_{side}") or ())
        for side in "ab"
    ]
    return (blocks if named[0] else 1, blocks if named[1] else 1)


def _adalora(placed: Placed) -> Count:
    rank = int(placed.field("init_r"))
    trained = placed.sum(lambda target: rank * (target.inputs + target.outputs + 1))
    return placed.count(trained, kept=_adalora_kept(placed))


def _adalora_kept(placed: Placed) -> int:
    # The largest modules are filled first: nothing that the budget can buy is larger.
    targets = sorted(placed.targets, key=lambda t: -(t.inputs + t.outputs))
    budget = int(placed.field("target_r")) * len(targets)
    kept = 0
    for target in targets:
        rank = min(int(placed.field("init_r")), budget)
        kept += rank * (target.inputs + target.outputs + 1)
        budget -= rank
    return kept


def _delora(placed: Placed) -> Count:
    trained = placed.sum(lambda t: placed.rank(t) * (t.inputs + t.outputs) + 1)
    norms = placed.sum(lambda t: t.inputs)
    return placed.count(trained, kept=trained + norms)


def _gralora(placed: Placed, target: TargetModule) -> int:
    rank = int(placed.field("r")) + int(placed.field("hybrid_r"))
    return rank * (target.inputs + target.outputs)


def _deft(placed: Placed, target: TargetModule) -> int:
    rank = min(int(placed.field("r")), target.outputs)
    return rank * (target.outputs + (0 if placed.field("para") else target.inputs))


def _peanut(placed: Placed, target: TargetModule) -> int:
    rank, depth = int(placed.field("r")), int(placed.field("depth"))
    return 2 * rank * target.outputs + 2 * depth * rank * rank


def _lokr(placed: Placed, target: TargetModule) -> int:
    rank = placed.rank(target)
    factor = int(placed.field("decompose_factor"))
    in_small, in_large = factors(target.inputs, factor)
    out_small, out_large = factors(target.outputs, factor)
    count = _factor(out_large, in_large, rank, split=True)
    return count + _factor(out_small, in_small, rank, split=bool(placed.field("decompose_both")))


def _factor(rows: int, columns: int, rank: int, *, split: bool) -> int:
    """One Kronecker factor, itself of low rank where that is smaller."""
    if split and rank < max(rows, columns) / 2:
        return rank * (rows + columns)
    return rows * columns


def factors(dimension: int, factor: int) -> tuple[int, int]:
    """The two factors that LoKr makes of a dimension, the smaller one first, as LyCORIS does.

    factor: the wanted one where it divides, else a bound on the smaller; -1: near the root.
    """
    if factor > 0 and dimension % factor == 0:
        return factor, dimension // factor
    bound = dimension if factor == -1 else factor
    small, large = 1, dimension
    while small < large:
        larger = next(n for n in range(small + 1, dimension + 1) if dimension % n == 0)
        if larger + dimension // larger > small + large or larger > bound:
            break
        small, large = larger, dimension // larger
    return min(small, large), max(small, large)


def _miss(placed: Placed, target: TargetModule) -> int:
    mini = placed.field("init_weights") == "mini"
    return placed.rank(target) * (int(placed.field("mini_r")) if mini else target.outputs)


FORMULAS: Mapping[str, Formula] = {
    "LORA": _lora,
    "ADALORA": _adalora,
    "DELORA": _delora,
    "DEFT": each(_deft),
    "GRALORA": each(_gralora),
    "HIRA": each(lambda p, t: int(p.field("r")) * (t.inputs + t.outputs)),
    "LOHA": each(lambda p, t: 2 * p.rank(t) * (t.inputs + t.outputs)),
    "LOKR": each(_lokr),
    "MISS": each(_miss),
    "PEANUT": each(_peanut),
}
