"""Attention that also sees trained keys and values in front of its own.

transformers' attention modules hand their queries, keys and values (rotated, the cache already in
them) to the function that `config._attn_implementation` names. A targeted module reads a
`PrefixedConfig`, which names `prefixed_attention` while a prefix is on and otherwise says what
the model's own config says. So the same few lines serve encoders, decoders with any cache and
cross-attention, and the cache never holds a prefix.

b: rows; h: key-value heads; c: channels of a head; n: queries; m: keys; v: virtual tokens.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AttentionInterface

NAME = "layer_prefix"
"""Of `prefixed_attention` among transformers' attention functions, and of the module's child."""

_KERNELS = ("eager", "sdpa")
_HEAD_WIDTHS = ("head_dim", "attention_head_size", "key_value_proj_dim", "head_size")
_HEAD_COUNTS = ("num_key_value_heads", "num_heads", "num_attention_heads", "n_heads")
_FUNCTIONS = AttentionInterface()


class PrefixedConfig:
    """The model's config as one targeted attention module sees it."""

    def __init__(self, config: Any, prefix: Any) -> None:
        self.config = config
        self.prefix = prefix

    @property
    def _attn_implementation(self) -> str:
        return NAME if self.prefix.on else str(self.config._attn_implementation)

    def __getattr__(self, name: str) -> Any:
        # copy and pickle ask for dunder names before there is a `config` to forward to.
        if name.startswith("__") or name == "config":
            raise AttributeError(name)
        return getattr(self.config, name)


def prefixed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """softmax(q [P_k | K]^T) [P_v | V] by the model's own kernel.

    Li and Liang 2021 (arXiv 2101.00190), in the form of He et al. 2022 (arXiv 2110.04366).
    The prefix is visible to every query and has neither a position nor a relative position bias.

    Args:
        query: (b, heads, n, c).
        key, value: (b, h, m, c).
        attention_mask: boolean or additive, (b, 1 or heads, n, m); None hides nothing, or with
            sdpa in a causal module the future.

    Returns:
        (b, n, heads, c), and (b, heads, n, v + m) weights or None.

    Raises:
        ValueError: the model runs another kernel than eager or sdpa.
    """
    prefix: Any = module.get_submodule(NAME)
    kernel = _checked_kernel(module.config.config)
    if attention_mask is None and kernel == "sdpa" and _is_causal(module, query, kwargs):
        attention_mask = _causal_mask(query, key)
    keys, values = prefix.keys_and_values(key)
    tokens = keys.shape[2]
    if attention_mask is not None:
        visible = True if attention_mask.dtype == torch.bool else 0.0
        attention_mask = pad(attention_mask, (tokens, 0), value=visible)
    if kwargs.get("position_bias") is not None:
        kwargs["position_bias"] = pad(kwargs["position_bias"], (tokens, 0))
    attend = _FUNCTIONS.get_interface(kernel, prefix.eager)
    key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
    output: tuple[Tensor, Tensor | None] = attend(
        module, query, key, value, attention_mask, **kwargs
    )
    return output


AttentionInterface.register(NAME, prefixed_attention)


def check_attention(module: nn.Module, name: str) -> None:
    """Refuse what `prefixed_attention` cannot serve.

    Raises:
        ValueError: not an attention module of transformers' interface, of unknown shape, or one
            that runs another kernel than eager or sdpa.
    """
    used = inspect.unwrap(type(module).forward).__code__.co_names
    if not {"ALL_ATTENTION_FUNCTIONS", "eager_attention_forward"} <= set(used):
        raise ValueError(
            "LAYER_PREFIX needs modules that call transformers' attention interface, got "
            f"{type(module).__name__} at {name}: target the self-attention itself (attention.self "
            "in BERT, self_attn in Llama); a model that has none, as DeBERTa, cannot take it"
        )
    _checked_kernel(module.config)
    key_value_shape(module)


def eager_attention(module: nn.Module) -> Callable[..., Any]:
    """The eager kernel of the module's own model."""
    kernel: Callable[..., Any] = inspect.unwrap(type(module).forward).__globals__[
        "eager_attention_forward"
    ]
    return kernel


def key_value_shape(module: nn.Module) -> tuple[int, int]:
    """Key-value heads of an attention module, and channels of each.

    Raises:
        ValueError: the module does not say.
    """
    config: Any = module.config
    widths = (getattr(module, name, None) for name in _HEAD_WIDTHS)
    counts = (getattr(part, n, None) for n in _HEAD_COUNTS for part in (module, config))
    heads, channels = next(filter(None, counts), None), next(filter(None, widths), None)
    if heads is None or channels is None or hasattr(module, "v_head_dim"):
        raise ValueError(
            "LAYER_PREFIX needs an attention module with keys and values of one known shape "
            f"({', '.join(_HEAD_WIDTHS)}), got {type(module).__name__}: leave it out"
        )
    return int(heads), int(channels)


def _checked_kernel(config: Any) -> str:
    kernel = str(config._attn_implementation)
    if kernel not in _KERNELS:
        raise ValueError(
            f"LAYER_PREFIX needs attn_implementation eager or sdpa, got {kernel}: load the model "
            "with one of them (flash kernels take no mask that spares a prefix)"
        )
    return kernel


def _is_causal(module: nn.Module, query: Tensor, kwargs: dict[str, Any]) -> bool:
    asked = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if asked is None else asked
    return bool(causal) and query.shape[2] > 1


def _causal_mask(query: Tensor, key: Tensor) -> Tensor:
    # Top-left, as sdpa aligns is_causal: with the prefix in front that flag would hide the future
    # from the wrong column on.
    shape = (query.shape[2], key.shape[2])
    return torch.ones(shape, dtype=torch.bool, device=query.device).tril()[None, None]
