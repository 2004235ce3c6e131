"""What a base model looks like: modules by layer and role, widths, sizes. No weights are read."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoConfig
from transformers.pytorch_utils import Conv1D

from autopeft.domain.errors import AutopeftError
from autopeft.domain.model import Embeddings, ModelShape, TargetModule
from autopeft.domain.roles import block_role_of, role_of
from autopeft.domain.tasks import task_kind
from autopeft.training.loading.model import bits_and_bytes, resolve_model
from autopeft.training.loading.trust import refuse_pickles, source
from autopeft.training.tasks import task_of

_LAYER = re.compile(r"^(?P<stack>(?:.*?\.)?(?:layers?|h|blocks?))\.(?P<layer>\d+)\.(?P<kind>.+)$")
_POSITIONS = re.compile(r"(^|\.)(position_embeddings?|embed_positions|wpe)$")
_PRETRAINED = ("head",)  # ModernBERT's, beside the backbone and in its checkpoints all the same


def model_shape(model: Mapping[str, Any], *, folder: str, num_labels: int) -> ModelShape:
    """The shapes of the file's model, from its config alone: built on the meta device.

    Raises:
        AutopeftError: the model is not there, or has no transformer layers that we recognise.
    """
    config, task = _config(model, folder, num_labels), task_of(task_kind(model))
    with torch.device("meta"):
        built = task.auto_class().from_config(config)
    text = config.get_text_config()
    modules, blocks = inside_layers(built)
    if not modules:
        raise AutopeftError(f"{config.model_type}: no transformer layers were found in this model")
    heads = _heads(built) if task.head_arguments(("0",)) else ()
    attention_heads = int(text.num_attention_heads)
    width = int(getattr(text, "head_dim", None) or text.hidden_size // attention_heads)
    return ModelShape(
        model_type=str(config.model_type),
        layers=1 + max(module.layer for module in modules),
        modules=modules,
        blocks=blocks,
        kv_width=width * int(getattr(text, "num_key_value_heads", None) or attention_heads),
        head=heads,
        head_parameters=sum(_size(getattr(built, name)) for name in heads),
        total_parameters=_size(built),
        bytes_per_parameter=_adapter_bytes(model),
        backbone_bytes=_dtype(model, config).itemsize,
        embeddings=embeddings_of(built),
        heads=attention_heads,
        dropout=_share(text, "hidden_dropout_prob", "resid_pdrop", "dropout"),
        attention_dropout=_share(
            text, "attention_probs_dropout_prob", "attn_pdrop", "attention_dropout"
        ),
        positions=positions_of(built),
    )


def _config(model: Mapping[str, Any], folder: str, num_labels: int) -> Any:
    name = resolve_model(model["model_name_or_path"], folder=folder)
    # Any names will do: shapes need their number.
    extra = task_of(task_kind(model)).head_arguments(tuple(map(str, range(num_labels))))
    refuse_pickles(name, model)
    try:
        return AutoConfig.from_pretrained(name, **source(model), **extra)
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise AutopeftError(
            f"model {name!r} cannot be loaded: {said} "
            "(give a local folder where the hub is out of reach)"
        ) from error


def _share(config: Any, *names: str) -> float:
    """The first of a config's fields that is there, as transformers' families call them."""
    found = (getattr(config, name, None) for name in names)
    return float(next((value for value in found if value is not None), 0.0))


def _adapter_bytes(model: Mapping[str, Any]) -> int:
    """Of an adapter's number: PEFT holds adapters in float32; TRL casts those of QLoRA to bfloat16.

    Dettmers et al. 2023 (arXiv 2305.14314), section 3; SFTTrainer does it as it is made.
    """
    return 2 if bits_and_bytes(model) and task_kind(model).trainer == "trl.SFTTrainer" else 4


def embeddings_of(built: Any) -> Embeddings | None:
    """The input embeddings and how many modules share their matrix; None: it reads no tokens."""
    found = built.get_input_embeddings()
    if not isinstance(found, torch.nn.Embedding):
        return None
    name = next(name for name, module in built.named_modules() if module is found)
    tied = getattr(built, "_tied_weights_keys", None) or {}
    shared = built.config.get_text_config().tie_word_embeddings and isinstance(tied, Mapping)
    copies = sum(source == f"{name}.weight" for source in tied.values()) if shared else 0
    return Embeddings(found.num_embeddings, found.embedding_dim, 1 + copies)


def positions_of(built: Any) -> int:
    """The tokens that learned embeddings of positions are enough for; 0: it has none."""
    found = [
        # What comes before the first position: RoBERTa counts from its padding, BART from 2.
        module.num_embeddings
        - (getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1)
        for name, module in built.named_modules()
        if isinstance(module, torch.nn.Embedding) and _POSITIONS.search(name)
    ]
    return min(found, default=0)


def _heads(built: Any) -> tuple[str, ...]:
    """What stands beside the backbone (`classifier`, `score`, `pre_classifier`): new, so trained.

    A pooler inside the backbone is pretrained, and stays as it is.
    """
    return tuple(
        name
        for name, child in built.named_children()
        if name not in (built.base_model_prefix, *_PRETRAINED) and _size(child) > 0
    )


def _dtype(model: Mapping[str, Any], config: Any) -> torch.dtype:
    """The dtype that transformers loads: the file's, else the checkpoint's."""
    wanted = model.get("dtype", "auto")
    if wanted == "auto":
        wanted = config.dtype or torch.float32
    found = wanted if isinstance(wanted, torch.dtype) else getattr(torch, str(wanted), None)
    if not isinstance(found, torch.dtype):
        raise AutopeftError(
            f"model.dtype takes auto, float32, bfloat16 or float16, got {wanted!r}: correct it"
        )
    return found


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def inside_layers(built: Any) -> tuple[tuple[TargetModule, ...], tuple[TargetModule, ...]]:
    """Linear maps and norms of the transformer layers, and their whole blocks, in model order.

    Of an encoder and a decoder, the decoder's layers are numbered on.
    """
    stacks: dict[str, int] = {}  # what stands before the layer's number: its first layer
    modules, blocks = [], []
    last = -1
    for name, module in built.named_modules():
        found = _LAYER.match(name)
        if found is None:
            continue
        first = stacks.setdefault(found["stack"], last + 1)
        last = max(last, first + int(found["layer"]))
        kind = found["kind"]
        placed = partial(
            TargetModule,
            name=name,
            layer=first + int(found["layer"]),
            kind=kind,
            type=type(module).__name__,
            parameters=_size(module),
        )
        if (widths := _leaf_widths(kind, module)) is not None:
            inputs, outputs = map(int, widths)
            bias = getattr(module, "bias", None) is not None
            modules.append(placed(inputs=inputs, outputs=outputs, bias=bias, role=role_of(kind)))
        elif role := block_role_of(kind):
            width = _block_width(kind, module)
            blocks.append(placed(inputs=width, outputs=width, bias=False, role=role))
    inner = {block.name.rpartition(".")[0] for block in blocks}
    return tuple(modules), tuple(block for block in blocks if block.name not in inner)


def _leaf_widths(kind: str, module: torch.nn.Module) -> Sequence[int] | None:
    """Inputs and outputs of a linear map or a norm; None where it is neither."""
    if isinstance(module, torch.nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return tuple(module.weight.shape)
    if role_of(kind) == "norm" and _size(module) > 0:
        return (module.weight.shape[0],) * 2
    return None


def _block_width(kind: str, module: torch.nn.Module) -> int:
    """The width of a whole block: that of its first linear map."""
    linear = next(m for m in module.modules() if isinstance(m, torch.nn.Linear | Conv1D))
    if kind == "output":  # BERT's second half of a feed-forward block starts with the wide side
        return int(linear.out_features)
    width = linear.in_features if isinstance(linear, torch.nn.Linear) else linear.weight.shape[0]
    return int(width)
