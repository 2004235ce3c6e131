"""Peak memory of training, by formula.

    peak = W + P (a + g + s) + K + max(logits, one layer at work)

W: the weights; P: trained parameters, with a, g and s bytes each for themselves, their gradient and
their optimiser state (Rajbhandari 2020, arXiv 1910.02054, section 3.1: 4 + 4 + 8 for Adam in
float32). Quantised: 1/2 or 1 byte a weight of a linear map and a float32 scale for every 64 of 4
bits (Dettmers 2023, arXiv 2305.14314, section 3), and the base is held beside the trial's copy.

K: what the forward pass keeps for the backward pass, per token of a micro-batch and module that
gradients pass (after Korthikanti 2022, arXiv 2205.05198, section 4.1, without what only trained
weights need, for those of the backbone are frozen):

    norm                 its input
    feed-forward         the input of the nonlinearity; gated: both factors and the gate's input
    attention            query, key, value and what comes out; where a kernel keeps its matrix (on
                         a CPU under dropout), 3 t values a head as well
    dropout              a mask: a byte a value on CUDA, a full number on a CPU
    trained target       its input, once for those that share it; a dropout's mask and output too;
                         its output where that is scaled
    trained backbone     the inputs of all its linear maps
    dense update         no tokens: the update itself, i o numbers, twice

With checkpointing K is the input of every layer and, for the layer at work, all of the above.
Tokens are those of the run's largest micro-batch.

Logits of a language model: b t vocabulary numbers as computed, in float32, as log-probabilities and
as gradients. TRL's fused head makes tiles of at most 4096 tokens x 32768 entries, one on CUDA and
nine temporaries of it in torch (TRL 1.16, `kernels/chunked_logprob.py`).

Left out: the fragments of an allocator, workspaces of kernels, the interpreter: what is measured is
larger by a factor that a search learns (`search.costs`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autopeft.domain.architecture import Module
from autopeft.domain.estimates.backward import Reached
from autopeft.domain.estimates.workload import Setting, Workload
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.roles import SHARED_INPUTS

_FULL = 4  # bytes of float32
_STATES: Mapping[str, float] = {
    "adafactor": 0.0,  # rows and columns only
    "adagrad": 4.0,
    "adamw_8bit": 2.0,
    "adamw_bnb_8bit": 2.0,
    "adamw_torch_4bit": 1.0,
    "adamw_torch_8bit": 2.0,
    "lion_32bit": 4.0,
    "lion_8bit": 1.0,
    "paged_adamw_8bit": 2.0,
    "paged_lion_32bit": 4.0,
    "paged_lion_8bit": 1.0,
    "rmsprop": 4.0,
    "sgd": 0.0,
}
_TILE = (4096, 32768)
_TILE_COPIES = 9
_ADAM_STATES = 8.0  # bytes a trained parameter: two moments in float32
_SCALED = frozenset({"IA3", "LN_TUNING", "PVERA", "ROAD", "SSF", "VBLORA", "VERA"})
_DENSE = frozenset(
    {
        *("FOURIERFT", "FROD", "HIRA", "HRA", "LOHA", "LOKR", "MISS", "OSF", "PEANUT"),
        *("RANDLORA", "SHIRA", "SUPERTUNING", "SVFIT", "UNILORA", "WAVEFT"),
    }
)
"""They compute a whole weight in every forward pass (PEFT 0.21, their `layer.py`)."""


def peak_gib(
    found: Reached,
    kept: "Kept",
    shape: ModelShape,
    work: Workload,
    setting: Setting,
    *,
    trained: float,
) -> float:
    """Peak memory of a trial in GiB; trained: parameters with gradients, head included."""
    work = work.at_peak()
    width = shape.backbone_bytes if found.everything else shape.bytes_per_parameter
    per_parameter = 2 * width + _STATES.get(work.optimizer, _ADAM_STATES)
    if found.everything:
        per_parameter -= width  # they are among the weights
    at_work = max(_logits(shape, work, setting), _working(shape, work, setting))
    held = kept.bytes(shape, work, setting)
    return (_weights(shape, setting) + trained * per_parameter + held + at_work) / 2**30


def dense(module: Module) -> bool:
    """Whether a method computes a whole weight in every forward pass."""
    return module.peft_type in _DENSE or bool(module.fields.get("use_dora"))


def _weights(shape: ModelShape, setting: Setting) -> float:
    total = float(shape.total_parameters * shape.backbone_bytes)
    if setting.bits is None:
        return total
    linear = sum(module.parameters for module in shape.modules if module.linear)
    scales = _FULL / 64 if setting.bits == 4 else 0.0
    held = total - linear * (shape.backbone_bytes - setting.bits / 8 - scales)
    return 2 * held if setting.cuda else held


@dataclass(frozen=True)
class Kept:
    """What the forward pass keeps for the backward pass, whatever the length of the rows.

    once: bytes at any number of tokens. layers: of each layer that gradients pass, bytes per token
    without attention's matrices, and the number of these.
    """

    once: float
    layers: tuple[tuple[float, int], ...]

    @classmethod
    def of(cls, found: Reached, shape: ModelShape, work: Workload, setting: Setting) -> "Kept":
        once = sum(2 * t.inputs * t.outputs * work.kept for m, t in found.adapted if dense(m))
        adapted: dict[int, list[tuple[Module, TargetModule]]] = {}
        for method, target in found.adapted:
            adapted.setdefault(target.layer, []).append((method, target))
        layers = [
            _of_layer(modules, adapted.get(layer, ()), shape, work, setting, found.everything)
            for layer, modules in _layers(found.above).items()
        ]
        return cls(once, tuple(layers))

    def bytes(self, shape: ModelShape, work: Workload, setting: Setting) -> float:
        """K of a micro-batch."""
        tokens, matrix = work.positions, _matrix(shape, work, setting)
        layers = [tokens * (numbers + matrices * matrix) for numbers, matrices in self.layers]
        if work.checkpointing:
            ends = len(layers) * tokens * shape.width * work.kept
            return self.once + ends + max(layers, default=0.0)
        return self.once + sum(layers)


def _of_layer(
    modules: Sequence[TargetModule],
    adapted: Sequence[tuple[Module, TargetModule]],
    shape: ModelShape,
    work: Workload,
    setting: Setting,
    everything: bool,
) -> tuple[float, int]:
    """What one layer keeps; see `Kept`."""
    kept, mask = work.kept, 1 if setting.cuda else work.kept
    found, matrices = 0.0, 0
    inputs: dict[str, int] = {}  # by what they read: shared inputs are kept once
    gated = any("gate" in module.role for module in modules)
    for module in modules:
        kind = module.role.rpartition(".")[2]
        if module.norm:
            found += module.inputs * (_FULL if kept < _FULL else kept)
        elif module.role.startswith("feed_forward"):
            if kind in ("up", "gate_up"):
                found += module.outputs * kept * (2 if kind == "up" and gated else 1)
            elif kind in ("gate", "gate_up"):
                found += module.outputs * kept
            elif kind == "down" and shape.dropout:
                found += module.outputs * mask
        elif kind in ("query", "key", "value", "qkv"):
            found += module.outputs * kept
        elif kind == "output":
            found += module.inputs * kept
            found += module.outputs * mask if shape.dropout else 0.0
            matrices += 1
        if everything and module.linear:
            inputs[_reads(module)] = module.inputs
    for method, target in adapted:
        inputs[_reads(target)] = target.inputs
        if float(method.fields.get("lora_dropout") or method.fields.get("dropout") or 0.0) > 0:
            found += target.inputs * (mask + kept)
        if method.peft_type in _SCALED:
            found += target.outputs * kept
    return found + sum(inputs.values()) * kept, matrices


def _matrix(shape: ModelShape, work: Workload, setting: Setting) -> float:
    """Bytes per token of the attention's probabilities, where they are kept."""
    if setting.cuda or not shape.attention_dropout:
        return 0.0
    return 3.0 * shape.heads * work.tokens * work.kept


def _working(shape: ModelShape, work: Workload, setting: Setting) -> float:
    """The layer that is computed: its widest tensor twice, and its gradients of attention."""
    widest = max((module.outputs for module in shape.modules), default=0)
    return work.positions * (2 * widest * work.kept + _matrix(shape, work, setting))


def _logits(shape: ModelShape, work: Workload, setting: Setting) -> float:
    if shape.head or shape.embeddings is None:  # of few classes: nothing
        return 0.0
    if setting.tiled:
        tile = min(work.positions, _TILE[0]) * _TILE[1]
        return tile * (work.kept if setting.cuda else _TILE_COPIES * _FULL)
    copies = 2 * _FULL + work.kept + (_FULL if work.kept < _FULL else 0)
    return work.positions * shape.embeddings.rows * copies


def _reads(module: TargetModule) -> str:
    """What names the input of a module in its layer."""
    return SHARED_INPUTS.get(module.role, module.name)


def _layers(modules: Iterable[TargetModule]) -> dict[int, list[TargetModule]]:
    found: dict[int, list[TargetModule]] = {}
    for module in modules:
        found.setdefault(module.layer, []).append(module)
    return found
