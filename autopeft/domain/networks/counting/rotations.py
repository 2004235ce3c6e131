"""Methods that rotate weights, or train a part of their singular value decomposition."""

import re
from collections.abc import Mapping

from autopeft.domain.model import TargetModule
from autopeft.domain.networks.counting.count import Formula, Placed, each
from autopeft.domain.space import Json


def _boft(placed: Placed, target: TargetModule) -> int:
    size, blocks = int(placed.field("boft_block_size")), int(placed.field("boft_block_num"))
    return target.inputs * (size or target.inputs // blocks) + target.outputs


def _oft(placed: Placed, target: TargetModule) -> int:
    if blocks := int(placed.field("r")):
        blocks = _divisor(target.inputs, blocks)
        size = target.inputs // blocks
    else:
        size = _divisor(target.inputs, int(placed.field("oft_block_size")))
        blocks = target.inputs // size
    return (1 if placed.field("block_share") else blocks) * size * (size - 1) // 2


def _divisor(dimension: int, wanted: int) -> int:
    """The divisor nearest to the wanted one, the smaller of two: what OFT takes instead."""
    divisors = [n for n in range(1, dimension + 1) if dimension % n == 0]
    return min(divisors, key=lambda n: (abs(n - wanted), n))


def _psoft(placed: Placed, target: TargetModule) -> int:
    rank = int(placed.field("r"))
    rotation = rank * (rank - 1) // 2 if placed.field("psoft_orth") else rank * rank
    scales = sum(bool(placed.field(name)) for name in ("psoft_mag_a", "psoft_mag_b"))
    return rotation + scales * rank


def _osf(placed: Placed, target: TargetModule) -> int:
    least = min(target.inputs, target.outputs)
    value = placed.field("effective_rank")
    for pattern, own in dict(placed.field("rank_pattern") or {}).items():
        if re.search(pattern, target.name):
            value = own
            break
    free = least - frozen_rank(value, least)
    return free * (target.inputs + target.outputs + 1)


def frozen_rank(value: Json, least: int) -> int:
    """Singular directions that OSF freezes: a number, a share of all, or (None) half of them."""
    if value is None:
        return least // 2
    share = isinstance(value, float) and 0 < value <= 1
    return max(0, min(least, int(least * value) if share else int(value)))


FORMULAS: Mapping[str, Formula] = {
    "BOFT": each(_boft),
    "HRA": each(lambda p, t: int(p.field("r")) * t.inputs),
    "OFT": each(_oft),
    "OSF": each(_osf),
    "PSOFT": each(_psoft),
}
