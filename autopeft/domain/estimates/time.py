"""Time of an optimiser step, by formula: what is computed, what is moved, what is launched.

    seconds = operations / F + bytes / B + launches * L         (a roofline: Williams 2009)

Operations per token: 2 n for a linear map of n weights forward, 2 n for the gradient of its input
where the backward pass reaches it, 2 n for that of its weights where they are trained (Kaplan 2020,
arXiv 2001.08361, section 2.1: 6 n in all). Attention: 4 t d a layer forward, twice that backward.
Checkpointing computes the layers forward once more. An adapter of p trained parameters: 6 p, for it
is a linear map; one that makes a whole weight of i o numbers does so at any number of tokens:
6 r i o, r its rank. The head of a language model: 4 d vocabulary, and 2 more in tiles, which are
computed twice.

Bytes of a micro-batch: the weights once a pass; what is kept for the backward pass three times
(written, read, its gradient); a whole weight twelve times (four products forward, twice backward).
Of a step: 28 a trained parameter (Adam reads four numbers and writes three).

Launches: four a module forward, and as many twice in the backward pass; 18 an adapted module; ten a
trained tensor in the optimiser.

F, B and L are round numbers of a usual machine; that of this one is learned as a factor
(`search.costs`).
"""

from dataclasses import dataclass

from autopeft.domain.estimates.backward import Reached
from autopeft.domain.estimates.memory import Kept, dense
from autopeft.domain.estimates.workload import Setting, Workload
from autopeft.domain.model import ModelShape

_MOVES_OF_KEPT, _MOVES_OF_DENSE, _BYTES_OF_ADAM = 3, 12, 28


@dataclass(frozen=True)
class Machine:
    """Operations and bytes a second, seconds a launch."""

    operations: float
    bytes: float
    launch: float


CORE = Machine(1e11, 1e10, 1e-5)
"""One core of a server and its share of the memory."""

GPU = Machine(1e14, 1e12, 1e-5)
"""An accelerator at the share of its peak that training reaches."""


def step_seconds(
    found: Reached,
    kept: Kept,
    shape: ModelShape,
    work: Workload,
    setting: Setting,
    *,
    trained: float,
) -> float:
    """Of one optimiser step; trained: parameters with gradients, head included."""
    machine = GPU if setting.cuda else CORE
    passes = 1 + work.checkpointing + (2 if found.everything else 1)  # over what is above
    below = sum(module.parameters for module in found.below if module.linear)
    above = sum(module.parameters for module in found.above if module.linear)
    operations = _operations(found, shape, work, setting, trained, below + passes * above)
    moved = float((below + passes * above) * shape.backbone_bytes)
    moved += _MOVES_OF_KEPT * kept.bytes(shape, work, setting)
    moved += sum(
        _MOVES_OF_DENSE * target.inputs * target.outputs * work.kept
        for method, target in found.adapted
        if dense(method)
    )
    launches = 4 * (len(found.below) + 3 * len(found.above)) + 18 * len(found.adapted)
    of_batch = operations / machine.operations + moved / machine.bytes + launches * machine.launch
    tensors = 2 * (len(found.above) if found.everything else len(found.adapted))
    of_step = _BYTES_OF_ADAM * trained / machine.bytes + 10 * tensors * machine.launch
    return work.accumulation / setting.devices * of_batch + of_step


def _operations(
    found: Reached,
    shape: ModelShape,
    work: Workload,
    setting: Setting,
    trained: float,
    weights: float,
) -> float:
    """Of one micro-batch; weights: of linear maps, counted once a pass."""
    per_token = 2.0 * weights
    matrix = 4.0 * work.tokens * shape.width
    per_token += matrix * (shape.layers + found.layers * (2 + work.checkpointing))
    if not found.everything:
        per_token += 6.0 * trained
    if not shape.head and shape.embeddings is not None:
        passes = 6.0 if setting.tiled else 4.0
        per_token += passes * shape.embeddings.width * shape.embeddings.rows
    whole = sum(
        6.0 * max(1, method.size or 1) * target.inputs * target.outputs
        for method, target in found.adapted
        if dense(method)
    )
    return work.positions * per_token + whole
