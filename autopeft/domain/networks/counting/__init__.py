"""Parameters and bytes of an architecture, by formula, before a second of training.

i, o: inputs and outputs of a targeted linear map; r: rank; L: layers; v: virtual tokens;
d: width of a token's embedding; k: width of one layer's keys; n: targets; I, O: the largest
i and o of the targets; b: block size. Per target, what is trained; `+` what is stored beside it.

    LORA         r (i + o)   + o trained each with use_dora, lora_bias, or bias: lora_only where
                             it has one; + r trained with kasa_config; BD-LoRA: the named one of
                             r i and r o over nblocks; init mica: r i trained, r (i + o) stored;
                             init pissa, olora: r at most min(i, o); init corda, lora_ga:
                             r (i + o) trained, 2 r (i + o) stored
    ADALORA      r (i + o) + r       trained at init_r, stored at target_r
    BEFT         o
    BOFT         i b + o             b = i / boft_block_num if that is given
    C3A          i o / b
    DEFT         r (i + o), r at most o; para: r o
    DELORA       r (i + o) + 1       + i column norms
    FOURIERFT    n_frequency
    FROD         i + s               s = sparse_rate i² (1 at least);
                                     + i² basis and 2 s + 2 int64 for every role
    GLORA        2 r (i + o)         vector: 2 o, constant: 2; where it has a bias also r (i + 1)
                                     or i, and 2 o or 2; + zeros for all that is not trained
    GRALORA      (r + hybrid_r) (i + o)
    HIRA         r (i + o)           PEFT 0.21 reads its rank_pattern and does not use it
    HRA          r i
    IA3          i for a feed-forward module, else o
    LILY         r (ceil(n / stride_A) i + num_B o) for every kind, n its targets; + r num_B a
                                     target; stored r (i + num_B o + num_B) a target
    LN_TUNING    the norm's own
    LOHA         2 r (i + o)
    LOKR         two Kronecker factors of (o, i), the large one r (o' + i') where that is smaller
    MISS         r o                 init mini: r mini_r
    OFT          (i / b) b (b - 1) / 2, b the divisor of i nearest to oft_block_size (or i / b to r)
                                     block_share: one block
    OSF          f (i + o + 1)       f = min(i, o) - effective_rank
    PEANUT       2 r o + 2 depth r²
    PSOFT        r (r - 1) / 2 + 2 r
    PVERA        2 r + o             + r (2 I + O) a model
    RANDLORA     g (r + min(i, o))   g = min(i, o) / r, up; + r (m + M G) for the model and again
                                     for each target; m, M: smaller, larger of I, O; G = m / r, up
    ROAD         o, 2 o, 4 o         by variant
    SHIRA        r (i + o)           + 2 int32 positions for each
    SUPERTUNING  (1 - sparsity) i o  + an int32 position for each; + r (i + o) trained with r
    TINYLORA     u a group           + r (i + o) + u r² a target, r at most min(i, o)
    UNILORA      theta_d_length a model; save_indices: + r (i + o) scales and as many int64
    VBLORA       r (i + o) / vector_length rows of num_vectors, and one bank a model
    VERA         r + o               + r (I + O) a model
    WAVEFT       n_frequency         proportional_parameters: by i o, of n times as many

    ADAPTION_PROMPT   (adapter_len d + 1) adapter_layers
    CARTRIDGE         2 L v k        the num_frozen_tokens among v stored, not trained
    CPT               d for every one of cpt_token_ids
    PREFIX_TUNING     2 L v k        prefix_projection: an embedding and two layers, not stored
    PROMPT_TUNING     v d
    P_TUNING          v d            + the encoder trained, not stored
    TRAINABLE_TOKENS  d for every one of token_indices; stored again for every module that the
                                     embeddings are tied to

Our own tuners; m: bottleneck_size.

    LAYER_PREFIX      2 v k          prefix_projection: an embedding and two layers, not stored
    PACA              r o            + r int64 columns
    PARALLEL_ADAPTER  m (i + o) + m + o
                                     phm_dim n: 2 n³ + (i + o) + 2 m + m + o
    SERIAL_ADAPTER    as parallel, with o for i
    SSF               2 o
    SVFIT             r

The built model is the oracle of the tests.
"""

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.methods.strategies import BEFORE_TRAINING
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.allocation import deployed, rank_budget
from autopeft.domain.networks.counting import low_rank, own, prompts, rotations, shared, sparse
from autopeft.domain.networks.counting.allocated import largest
from autopeft.domain.networks.counting.count import Count, Formula, Placed, Tensors
from autopeft.domain.networks.counting.refused import UNCOUNTED_TYPES, refuse_uncounted

__all__ = ["COUNTED", "UNCOUNTED_TYPES", "known_metrics"]

_FORMULAS: dict[str, Formula] = {
    **low_rank.FORMULAS,
    **own.FORMULAS,
    **prompts.FORMULAS,
    **rotations.FORMULAS,
    **shared.FORMULAS,
    **sparse.FORMULAS,
}
COUNTED = frozenset(_FORMULAS)
"""The peft_types of this version."""


def known_metrics(architecture: Architecture, shape: ModelShape) -> dict[str, float]:
    """adapter_params, trainable_params and adapter_bytes (tensors of the stored adapter).

    Where an allocation strategy finds the ranks of targets of unequal shape, they decide what is
    stored: then adapter_params is the most that the budget can hold. Everything else is exact.

    Raises:
        ValueError: a module cannot be counted.
    """
    if architecture.full_fine_tuning:
        backbone = shape.total_parameters - shape.head_parameters
        counts = [Count(backbone, (Tensors(backbone, shape.backbone_bytes),))]
    else:
        counts = _counts(architecture, shape)
    stored = [tensors for count in counts for tensors in count.stored]
    trained = sum(count.trained for count in counts)
    return {
        "adapter_params": float(sum(tensors.numbers for tensors in stored)),
        "trainable_params": float(trained + shape.head_parameters),
        "adapter_bytes": float(sum(tensors.numbers * tensors.width for tensors in stored)),
    }


def _counts(architecture: Architecture, shape: ModelShape) -> list[Count]:
    name = architecture.allocation[0]
    if name not in BEFORE_TRAINING and name != "increlora":
        return [_count(module, shape) for module in deployed(architecture)]
    found = []
    for module, built in zip(architecture.modules, deployed(architecture), strict=True):
        most = _count(largest(module, rank_budget(architecture, module), shape), shape)
        # What grows is built and trained at its largest size.
        trained = _count(built, shape).trained if name == "increlora" else most.trained
        found.append(Count(trained, most.stored))
    return found


def _count(module: Module, shape: ModelShape) -> Count:
    refuse_uncounted(module)
    if module.peft_type not in _FORMULAS:
        raise ValueError(
            f"peft_type {module.peft_type} cannot be counted: one of {', '.join(sorted(COUNTED))}"
        )
    return _FORMULAS[module.peft_type](Placed.on(shape, module))
