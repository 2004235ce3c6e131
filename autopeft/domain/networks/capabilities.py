"""What every PEFT type can be put into, and what becomes of it: one table.

It says what holds for a type with PEFT's defaults; `autopeft.domain.rules.fit` knows the fields
that change it. What is refused was built and run: the tests run it again on tiny models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autopeft.domain.networks.counting.refused import UNCOUNTED_TYPES

BLOCK = "block"
"""In `Capability.wraps`: a whole attention or feed-forward block."""

MODEL = "model"
"""In `Capability.wraps`: the method surrounds the whole model and takes no targets."""

# fmt: off
_VISION_OR_AUDIO = frozenset({
    "audio-spectrogram-transformer", "beit", "clip", "clip_vision_model", "convnext", "deit",
    "dinov2", "hubert", "mobilevit", "resnet", "segformer", "siglip_vision_model", "swin",
    "swinv2", "vit", "vit_mae", "wav2vec2", "whisper",
})
_RECURRENT = frozenset({"falcon_mamba", "mamba", "mamba2", "rwkv"})
_NO_CACHE = frozenset({
    "albert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet",
})
# fmt: on
_OWN_ATTENTION = frozenset({"deberta", "deberta-v2"})  # computed beside transformers' interface
_LLAMA_ADAPTER = frozenset({"gpt2", "llama", "mistral"})

_GENERAL = frozenset({"SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "QUESTION_ANS", "FEATURE_EXTRACTION"})


@dataclass(frozen=True)
class Capability:
    """What one PEFT type can do.

    wraps: class names of the modules that it can target (`norm`: of any kind; BLOCK); MODEL: none.
    tasks: PEFT's task types that it works for; None: every one.
    merges: its update can be folded into the base weights, with equal outputs.
    identity: a fresh adapter with PEFT's defaults leaves the outputs as they were.
    combines: it can share a model with other types, each on its own targets.
    quantized: right on bitsandbytes' 4 and 8 bits; others fail there or give wrong outputs.
    families: the only model types that it knows; None: every one.
    strangers: model types where it cannot work.
    unsearchable: why no search takes it; None: it does.
    """

    wraps: frozenset[str]
    tasks: frozenset[str] | None = None
    merges: bool = True
    identity: bool = True
    combines: bool = True
    quantized: bool = False
    families: frozenset[str] | None = None
    strangers: frozenset[str] = frozenset()
    unsearchable: str | None = None


def _on(kinds: str, **changes: Any) -> Capability:
    return Capability(frozenset(kinds.split()), **changes)


def _prompt(
    tasks: frozenset[str] = _GENERAL, strangers: frozenset[str] = frozenset()
) -> Capability:
    """Virtual tokens: the base, quantised or not, is left alone."""
    unfit_for = _VISION_OR_AUDIO | _RECURRENT | strangers
    changes: dict[str, Any] = {"merges": False, "identity": False, "combines": False}
    return _on(MODEL, tasks=tasks, quantized=True, strangers=unfit_for, **changes)


def _refused(kinds: str, peft_type: str, *, merges: bool = False) -> Capability:
    reason = UNCOUNTED_TYPES[peft_type]
    return _on(kinds, merges=merges, combines=False, unsearchable=reason)


CAPABILITIES: Mapping[str, Capability] = {
    "ADALORA": _on("Linear Conv1D", combines=False, quantized=True),  # one allocator a model
    "ADAMSS": _refused("Linear", "ADAMSS", merges=True),
    "ADAPTION_PROMPT": _on(
        MODEL,
        tasks=_GENERAL,
        merges=False,
        combines=False,
        quantized=True,
        families=_LLAMA_ADAPTER,
    ),
    "BEFT": _on("Linear", quantized=True),
    "BOFT": _on("Linear", quantized=True),
    "C3A": _on("Linear", identity=False, quantized=True),
    "CARTRIDGE": _prompt(_GENERAL | {"TOKEN_CLS"}, _NO_CACHE),
    "CPT": _prompt(frozenset({"CAUSAL_LM"})),
    "DEFT": _on("Linear Conv1D"),
    "DELORA": _on("Linear"),
    "FOURIERFT": _on("Linear Conv1D", identity=False, quantized=True),
    "FROD": _on("Linear Conv1D", combines=False),
    "GLORA": _on("Linear"),
    "GRALORA": _on("Linear Conv1D", quantized=True),
    "HIRA": _on("Linear Conv1D Embedding", quantized=True),
    "HRA": _on("Linear"),
    "IA3": _on("Linear Conv1D", quantized=True),
    "LILY": _on(
        "Linear", merges=False, combines=False, quantized=True
    ),  # its router looks at every input
    "LN_TUNING": _on("norm Linear Conv1D", quantized=True),
    "LOHA": _on("Linear"),
    "LOKR": _on("Linear"),
    "LORA": _on("Linear Conv1D Embedding", quantized=True),
    "MISS": _on("Linear", quantized=True),
    "MULTITASK_PROMPT_TUNING": _refused(MODEL, "MULTITASK_PROMPT_TUNING"),
    "OFT": _on("Linear Embedding", quantized=True),  # on Conv2d wider than 1 no identity
    "OSF": _on("Linear"),
    "PEANUT": _on("Linear"),
    "POLY": _refused("Linear", "POLY"),
    "PREFIX_TUNING": _prompt(_GENERAL | {"TOKEN_CLS"}, _NO_CACHE),
    "PROMPT_TUNING": _prompt(),
    "PSOFT": _on("Linear"),
    "PVERA": _on("Linear Conv1D", combines=False, quantized=True),
    "P_TUNING": _prompt(),
    "RANDLORA": _on("Linear Conv1D", combines=False, quantized=True),
    "ROAD": _on("Linear", quantized=True),
    "SHADOW": _refused(MODEL, "SHADOW"),
    "SHIRA": _on("Linear", quantized=True),
    "SUPERTUNING": _on("Linear", combines=False),
    "TINYLORA": _on("Linear Conv1D Embedding", combines=False),
    "TRAINABLE_TOKENS": _on(MODEL, combines=False, strangers=_VISION_OR_AUDIO, quantized=True),
    "UNILORA": _on("Linear Conv1D", identity=False, combines=False),
    "VBLORA": _on("Linear Conv1D", identity=False, combines=False, quantized=True),
    "VERA": _on("Linear Conv1D", combines=False, quantized=True),
    "WAVEFT": _on("Linear Conv1D", quantized=True),
    "XLORA": _refused("Linear", "XLORA"),
    # Of autopeft.tuners.
    "LAYER_PREFIX": _on(
        BLOCK, merges=False, identity=False, quantized=True, strangers=_OWN_ATTENTION
    ),
    "PACA": _on("Linear Conv1D"),
    "PARALLEL_ADAPTER": _on(f"Linear Conv1D {BLOCK}", merges=False, quantized=True),
    "SERIAL_ADAPTER": _on(f"Linear Conv1D norm {BLOCK}", merges=False, quantized=True),
    "SSF": _on("Linear Conv1D norm", quantized=True),
    "SVFIT": _on("Linear Conv1D"),
}
"""{peft_type: what it can do}, of the installed PEFT and of our own tuners.

FROD, PVERA, TINYLORA, UNILORA, VBLORA and VERA keep a part at the model, which an injection beside
another type does not save; RANDLORA and SUPERTUNING ask the configs of other types for fields of
their own.
"""

SEARCHABLE = frozenset(
    kind for kind, capability in CAPABILITIES.items() if capability.unsearchable is None
)
"""The peft_types that a space can hold."""
