"""What a module does in its layer, whatever the architecture calls it.

| role | BERT | Llama | GPT-2 |
|---|---|---|---|
| `attention.query`, `.key`, `.value` | `attention.self.query` | `self_attn.q_proj` | |
| `attention.qkv` | | | `attn.c_attn` |
| `attention.output` | `attention.output.dense` | `self_attn.o_proj` | `attn.c_proj` |
| `feed_forward.up` | `intermediate.dense` | `mlp.up_proj` | `mlp.c_fc` |
| `feed_forward.gate` | | `mlp.gate_proj` | |
| `feed_forward.gate_up` (ModernBERT, Phi-3: fused) | | | |
| `feed_forward.down` | `output.dense` | `mlp.down_proj` | `mlp.c_proj` |
| `norm` | `output.LayerNorm` | `input_layernorm` | `ln_1` |
| `attention` (the whole block) | `attention.self` | `self_attn` | `attn` |
| `feed_forward` (the whole block) | `output` | `mlp` | `mlp` |

In a decoder that reads an encoder the second attention has `cross_attention` in front.
"""

import re
from collections.abc import Mapping

_CROSS = re.compile(r"(encoder_attn|EncDecAttention|cross_?attn|cross_?attention)")
_ATTENTION = re.compile(r"(attn|attention|SelfAttention)", re.IGNORECASE)
_NORM = re.compile(r"(norm(\d|_\w+)?|(^|\.)ln(_\w+)?)$", re.IGNORECASE)
_IN_ATTENTION: Mapping[str, str] = {
    "query": r"query|query_proj|q_proj|q_lin|q",
    "key": r"key|key_proj|k_proj|k_lin|k",
    "value": r"value|value_proj|v_proj|v_lin|v",
    "qkv": r"c_attn|Wqkv|qkv_proj|query_key_value|qkv|in_proj",
    "output": r"dense|out_proj|o_proj|out_lin|c_proj|Wo|o",
}
_IN_FEED_FORWARD: Mapping[str, str] = {
    "up": r"up_proj|c_fc|lin1|fc1|wi|wi_1|dense_h_to_4h|intermediate\.dense|ffn",
    "gate": r"gate_proj|wi_0",
    "gate_up": r"gate_up_proj|Wi",
    "down": r"down_proj|c_proj|lin2|fc2|wo|Wo|dense_4h_to_h|output\.dense|ffn_output",
}
_ATTENTION_BLOCK = re.compile(
    r"(^|\.)(attention\.self|self_attn|attn|attention|SelfAttention|encoder_attn|EncDecAttention)$"
)
_FEED_FORWARD_BLOCK = re.compile(r"(^|\.)(mlp|ffn|DenseReluDense)$|^output$")


SHARED_INPUTS: Mapping[str, str] = {
    **{f"attention.{kind}": "attention" for kind in ("query", "key", "value", "qkv")},
    **{f"feed_forward.{kind}": "feed_forward" for kind in ("up", "gate", "gate_up")},
}
"""{role: what its input is called}: maps of one layer that read the same states."""


def role_of(kind: str) -> str:
    """The role of a linear map or a norm by its name inside the layer; "" where none is known."""
    if _NORM.search(kind):
        return "norm"
    if _ATTENTION.search(kind):
        block = "cross_attention" if _CROSS.search(kind) else "attention"
        return _first(block, _IN_ATTENTION, kind)
    return _first("feed_forward", _IN_FEED_FORWARD, kind)


def block_role_of(kind: str) -> str:
    """The role of a module with children: `attention`, `cross_attention`, `feed_forward` or ""."""
    if _ATTENTION_BLOCK.search(kind):
        return "cross_attention" if _CROSS.search(kind) else "attention"
    return "feed_forward" if _FEED_FORWARD_BLOCK.search(kind) else ""


def _first(block: str, names: Mapping[str, str], kind: str) -> str:
    for role, pattern in names.items():
        if re.search(rf"(^|\.)({pattern})$", kind):
            return f"{block}.{role}"
    return ""
