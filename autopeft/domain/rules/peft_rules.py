"""What PEFT asks of a module's fields, given the shapes of its targets.

A rule gives the reason why a module breaks it, or None. Where PEFT accepts a value and computes
something wrong with it, the rule says so; the numbers are the largest difference in logits that a
tiny model showed.
"""

import re
from collections.abc import Callable, Mapping
from itertools import permutations

from autopeft.domain.model import TargetModule
from autopeft.domain.networks.counting.count import Placed
from autopeft.domain.networks.counting.rotations import frozen_rank
from autopeft.domain.networks.counting.sparse import FORMULAS, circulant_block
from autopeft.domain.networks.peft_config import named_targets, reached
from autopeft.domain.rules.data_init_rules import broken_data_init
from autopeft.domain.rules.tuner_rules import RULES as OWN_RULES

Rule = Callable[[Placed], str | None]


def broken_rule(placed: Placed) -> str | None:
    """The first reason why PEFT cannot build this module, or builds it wrong; None: it is right."""
    rule = _RULES.get(placed.module.peft_type)
    return _positive_rank(placed) or (rule(placed) if rule is not None else None)


def _positive_rank(placed: Placed) -> str | None:
    rank = placed.module.fields.get("r", 1)
    if isinstance(rank, int) and rank < 1 and placed.module.peft_type != "OFT":
        return f"r is 1 or more, got {rank}: raise it"
    return None


def _divides(placed: Placed, field: str, value: int, *, inputs: bool, outputs: bool) -> str | None:
    for target in placed.targets:
        for side, on in (("inputs", inputs), ("outputs", outputs)):
            width: int = getattr(target, side)
            if on and (value < 1 or width % value):
                return (
                    f"{placed.module.peft_type} needs a {field} that divides the {side} of every "
                    f"target, got {value} and {width} of {target.name}: change it or the targets"
                )
    return None


def _at_most(placed: Placed, field: str, most: Callable[[TargetModule], int]) -> str | None:
    """`field` stays within a bound of every target."""
    for target in placed.targets:
        value = placed.rank(target) if field == "r" else int(placed.field(field))
        if value > most(target):
            return (
                f"{placed.module.peft_type} needs {field} of {most(target)} or less at "
                f"{target.name}, got {value}: lower it"
            )
    return None


def _least(target: TargetModule) -> int:
    return min(target.inputs, target.outputs)


def _boft(placed: Placed) -> str | None:
    size, blocks = int(placed.field("boft_block_size")), int(placed.field("boft_block_num"))
    if bool(size) == bool(blocks):
        return (
            "BOFT takes boft_block_size or boft_block_num, the other 0, got "
            f"{size} and {blocks}: set one to 0"
        )
    field = "boft_block_size" if size else "boft_block_num"
    return _divides(placed, field, size or blocks, inputs=True, outputs=False)


def _c3a(placed: Placed) -> str | None:
    for target in placed.targets:
        size = circulant_block(placed, target)
        here = Placed(placed.module, (target,), placed.shape)
        if reason := _divides(here, "block_size", size, inputs=True, outputs=True):
            return reason
    return None


def _cpt(placed: Placed) -> str | None:
    largest = max(placed.field("cpt_tokens_type_mask") or [1])
    if largest % 4:
        return (
            "CPT counts the labels of plain examples only if the largest of cpt_tokens_type_mask "
            f"is a multiple of 4, got {largest}: give the last label tokens type 4"
        )
    return None


def _frequencies(placed: Placed) -> str | None:
    for target in placed.targets:
        here = Placed(placed.module, (target,), placed.shape)
        number = FORMULAS[placed.module.peft_type](here).trained
        if number > target.inputs * target.outputs:
            return (
                f"{placed.module.peft_type} needs n_frequency within the "
                f"{target.inputs * target.outputs} weights of {target.name}, got {number}: lower it"
            )
    return None


def _gralora(placed: Placed) -> str | None:
    rank, blocks = int(placed.field("r")), int(placed.field("gralora_k"))
    if rank % blocks:
        return f"GRALORA needs r divisible by gralora_k, got {rank} and {blocks}: change one"
    return _divides(placed, "gralora_k", blocks, inputs=True, outputs=True)


def _hira(placed: Placed) -> str | None:
    if placed.field("rank_pattern"):
        return "PEFT reads HIRA's rank_pattern and gives every target r all the same: leave it out"
    return None


def _lily(placed: Placed) -> str | None:
    if int(placed.field("stride_A")) < 1 or int(placed.field("num_B")) < 2:
        return (
            "LILY needs stride_A of 1 or more and num_B of 2 or more, got "
            f"{placed.field('stride_A')} and {placed.field('num_B')}: raise them"
        )
    named = named_targets(placed.module)
    kinds, wanted = named.get("target_modules", []), set(placed.module.targets)
    for one, other in permutations(kinds, 2):
        if one.endswith(other):
            return (
                f"LILY shares by kind, and {one} ends as {other} does: take one of them in a module"
            )
    for target in placed.shape.modules:
        if target.name not in wanted and reached(named, target.name):
            return (
                "LILY takes each of its kinds in the same layers, and PEFT would wrap "
                f"{target.name} too: change target_modules or layers"
            )
    return None


_VARIANTS = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "use_bdlora",
    "use_dora",
    "velora_config",
)
"""Fields of LoRA that each put another computation into the layer; PEFT combines none of them."""


def _lora(placed: Placed) -> str | None:
    if placed.module.fields.get("layer_replication"):
        return "PEFT merges layer_replication wrongly (0.12): leave it out"
    if placed.field("use_dora") and placed.field("lora_bias"):
        return "DoRA has no lora_bias: take one of the two"
    init = placed.field("init_lora_weights")
    if placed.field("lora_bias") and not isinstance(init, bool):
        return f"lora_bias starts by init true alone, got {init}: leave one of the two out"
    variants = [name for name in _VARIANTS if placed.field(name)]
    variants += ["mica"] if placed.field("init_lora_weights") == "mica" else []
    if len(variants) > 1:
        return f"LORA takes one variant, got {' and '.join(variants)}: leave one out"
    if placed.field("kasa_config") is not None:
        reason = _at_most(placed, "r", lambda target: _least(target) - 1)
        return reason or broken_data_init(placed)
    return _lora_init(placed)


def _lora_init(placed: Placed) -> str | None:
    init = str(placed.field("init_lora_weights"))
    if re.fullmatch(r"pissa_niter_\d+", init):
        return f"{init} starts from another random decomposition when reloaded (0.47): take pissa"
    if init == "mica":
        return _at_most(placed, "r", _least)
    odd = [rank for target in placed.targets if (rank := placed.rank(target)) % 2]
    if init == "orthogonal" and odd:
        return f"init orthogonal needs an even r, got {odd[0]}: raise it by one"
    return broken_data_init(placed)


def _miss(placed: Placed) -> str | None:
    if placed.field("init_weights") == "bat":
        rank = int(placed.field("r"))
        return _divides(placed, "r", rank, inputs=True, outputs=True)
    if placed.field("init_weights") == "mini":
        mini = int(placed.field("mini_r"))
        if reason := _divides(placed, "mini_r", mini, inputs=False, outputs=True):
            return reason
    return _at_most(placed, "r", lambda target: target.inputs)


def _oft(placed: Placed) -> str | None:
    rank, size = int(placed.field("r")), int(placed.field("oft_block_size"))
    if bool(rank) == bool(size):
        return f"OFT takes r or oft_block_size, the other 0, got {rank} and {size}: set one to 0"
    return None


def _osf(placed: Placed) -> str | None:
    for target in placed.targets:
        frozen = frozen_rank(placed.field("effective_rank"), _least(target))
        if not 0 < frozen < _least(target):
            return (
                f"OSF freezes 1 to {_least(target) - 1} singular directions of {target.name}, got "
                f"effective_rank {frozen}: change it"
            )
    return None


def _road(placed: Placed) -> str | None:
    size = int(placed.field("group_size"))
    if size <= 0 or size % 2:
        return f"ROAD needs an even group_size, got {size}: change it"
    return _divides(placed, "group_size", size, inputs=False, outputs=True)


def _shira(placed: Placed) -> str | None:
    return _at_most(placed, "r", lambda t: t.inputs * t.outputs // (t.inputs + t.outputs))


def _supertuning(placed: Placed) -> str | None:
    density = 1 - float(placed.field("sparsity"))
    for target in placed.targets:
        if int(target.inputs * target.outputs * density) < 1:
            return f"SUPERTUNING's sparsity leaves nothing to train at {target.name}: lower it"
    return None


def _trainable_tokens(placed: Placed) -> str | None:
    tokens = placed.field("token_indices")
    rows = placed.shape.embeddings.rows if placed.shape.embeddings else 0
    known = all(isinstance(token, int) and 0 <= token < rows for token in tokens)
    if tokens and known and len(set(tokens)) == len(tokens):
        return None
    return (
        "TRAINABLE_TOKENS needs token_indices: different ids of the vocabulary, "
        f"0 to {rows - 1}, got {list(tokens)}"
    )


def _vblora(placed: Placed) -> str | None:
    length = int(placed.field("vector_length"))
    top, vectors = int(placed.field("topk")), int(placed.field("num_vectors"))
    if top > vectors:
        return f"VBLORA mixes topk of its num_vectors, got {top} of {vectors}: lower topk"
    return _divides(placed, "vector_length", length, inputs=True, outputs=True)


_RULES: Mapping[str, Rule] = {
    "BOFT": _boft,
    "C3A": _c3a,
    "CPT": _cpt,
    "FOURIERFT": _frequencies,
    "GRALORA": _gralora,
    "HIRA": _hira,
    "LILY": _lily,
    "LORA": _lora,
    "MISS": _miss,
    "OFT": _oft,
    "OSF": _osf,
    "PSOFT": lambda placed: _at_most(placed, "r", _least),
    "ROAD": _road,
    "SHIRA": _shira,
    "SUPERTUNING": _supertuning,
    "TRAINABLE_TOKENS": _trainable_tokens,
    "VBLORA": _vblora,
    "WAVEFT": _frequencies,
    **OWN_RULES,
}
