"""One name for what a module does, on every architecture: built from tiny configs, no weights."""

import re

import pytest
import torch
import transformers as hf

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.training.loading.shapes import inside_layers

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "vocab_size": 96,
}
GROUPED = SIZES | {"num_key_value_heads": 2, "pad_token_id": 0}
PARTS = ("query", "key", "value", "output")


def attention(block, *parts, role="attention"):
    """{role: name in the layer} of an attention block; of two parts the first is fused."""
    roles = PARTS if len(parts) == 4 else ("qkv", "output")
    return {f"{role}.{part}": f"{block}.{name}" for part, name in zip(roles, parts, strict=True)}


def feed_forward(**parts):
    return {f"feed_forward.{part}": name for part, name in parts.items()}


SELF_ATTN = attention("self_attn", "q_proj", "k_proj", "v_proj", "o_proj")
LLAMA = SELF_ATTN | feed_forward(up="mlp.up_proj", gate="mlp.gate_proj", down="mlp.down_proj")
BERT_FEED_FORWARD = feed_forward(up="intermediate.dense", down="output.dense")


def bert(*parts):
    inside = [f"self.{part}" for part in parts]
    return attention("attention", *inside, "output.dense") | BERT_FEED_FORWARD


BERT = bert("query", "key", "value")
BERT_BLOCKS = {"attention": "attention.self", "feed_forward": "output"}
MLP = {"attention": "self_attn", "feed_forward": "mlp"}
CROSS = {"attention": "self_attn", "cross_attention": "encoder_attn"}
T5_ATTENTION = attention("SelfAttention", *"qkvo") | attention(
    "EncDecAttention", *"qkvo", role="cross_attention"
)
T5_BLOCKS = {
    "attention": "SelfAttention",
    "cross_attention": "EncDecAttention",
    "feed_forward": "DenseReluDense",
}
DECODER = [
    hf.LlamaConfig(**GROUPED),
    hf.Qwen2Config(**GROUPED),
    hf.Qwen3Config(**GROUPED),
    hf.MistralConfig(**GROUPED),
    hf.GemmaConfig(**GROUPED, head_dim=8),
    hf.Gemma2Config(**GROUPED, head_dim=8),
    hf.Gemma3TextConfig(**GROUPED, head_dim=8),
]
BART = {"d_model": 32, "vocab_size": 96} | {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 48))
}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 96}
# config, layers, the names of its linear maps by role, the names of its blocks by role
FAMILIES = [
    *((config, 2, LLAMA, MLP) for config in DECODER),
    (hf.BertConfig(**SIZES), 2, BERT, BERT_BLOCKS),
    (hf.RobertaConfig(**SIZES), 2, BERT, BERT_BLOCKS),
    (hf.ElectraConfig(**SIZES), 2, BERT, BERT_BLOCKS),
    (hf.DebertaConfig(**SIZES), 2, bert("in_proj"), BERT_BLOCKS),
    (
        hf.DebertaV2Config(**SIZES),
        2,
        bert("query_proj", "key_proj", "value_proj"),
        BERT_BLOCKS,
    ),
    (
        hf.DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=96),
        2,
        attention("attention", "q_lin", "k_lin", "v_lin", "out_lin")
        | feed_forward(up="ffn.lin1", down="ffn.lin2"),
        {"attention": "attention", "feed_forward": "ffn"},
    ),
    (
        hf.ModernBertConfig(**SIZES, pad_token_id=0),
        2,
        attention("attn", "Wqkv", "Wo") | feed_forward(gate_up="mlp.Wi", down="mlp.Wo"),
        {"attention": "attn", "feed_forward": "mlp"},
    ),
    (
        hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=96),
        2,
        attention("attn", "c_attn", "c_proj") | feed_forward(up="mlp.c_fc", down="mlp.c_proj"),
        {"attention": "attn", "feed_forward": "mlp"},
    ),
    (
        hf.GPTNeoXConfig(**SIZES),
        2,
        attention("attention", "query_key_value", "dense")
        | feed_forward(up="mlp.dense_h_to_4h", down="mlp.dense_4h_to_h"),
        {"attention": "attention", "feed_forward": "mlp"},
    ),
    (
        hf.PhiConfig(**SIZES),
        2,
        SELF_ATTN
        | {"attention.output": "self_attn.dense"}
        | feed_forward(up="mlp.fc1", down="mlp.fc2"),
        MLP,
    ),
    (
        hf.Phi3Config(**GROUPED),
        2,
        attention("self_attn", "qkv_proj", "o_proj")
        | feed_forward(gate_up="mlp.gate_up_proj", down="mlp.down_proj"),
        MLP,
    ),
    (
        hf.T5Config(**T5),
        4,
        T5_ATTENTION | feed_forward(up="DenseReluDense.wi", down="DenseReluDense.wo"),
        T5_BLOCKS,
    ),
    (
        hf.T5Config(**T5, feed_forward_proj="gated-gelu"),
        4,
        T5_ATTENTION
        | feed_forward(
            gate="DenseReluDense.wi_0", up="DenseReluDense.wi_1", down="DenseReluDense.wo"
        ),
        T5_BLOCKS,
    ),
    (
        hf.BartConfig(**BART),
        4,
        SELF_ATTN
        | {"attention.output": "self_attn.out_proj"}
        | attention(
            "encoder_attn", "q_proj", "k_proj", "v_proj", "out_proj", role="cross_attention"
        )
        | feed_forward(up="fc1", down="fc2"),
        CROSS,
    ),
    (
        hf.ViTConfig(**SIZES, image_size=32, patch_size=8),
        2,
        attention("attention", "q_proj", "k_proj", "v_proj", "o_proj")
        | feed_forward(up="mlp.fc1", down="mlp.fc2"),
        {"attention": "attention", "feed_forward": "mlp"},
    ),
]
each_family = pytest.mark.parametrize(
    ("config", "layers", "names", "blocks"),
    FAMILIES,
    ids=[f"{i}-{family[0].model_type}" for i, family in enumerate(FAMILIES)],
)


def described(config):
    """(modules, blocks) of the model of a config."""
    with torch.device("meta"):
        return inside_layers(hf.AutoModel.from_config(config))


def names_in(layer, found):
    """{role: name} in one layer; T5's blocks have their number in front."""
    return {m.role: re.sub(r"^layer\.\d\.", "", m.kind) for m in found if m.layer == layer}


@each_family
def test_every_linear_map_and_block_of_a_layer_has_its_role(config, layers, names, blocks):
    modules, found = described(config)
    linear = [module for module in modules if module.linear]
    assert {module.layer for module in modules} == set(range(layers))
    assert all(module.role == "norm" for module in modules if not module.linear)
    for layer in range(layers):
        reads = layer >= 2 or layers == 2  # an encoder's layer has nothing to read
        assert names_in(layer, linear) == of_layer(names, reads=reads)
        assert names_in(layer, found) == of_layer(blocks, reads=reads)
        assert len([m for m in linear if m.layer == layer]) == len(of_layer(names, reads=reads))
    assert {(block.inputs, block.outputs) for block in found} == {(32, 32)}


def of_layer(names, *, reads):
    return {role: name for role, name in names.items() if reads or "cross" not in role}


@each_family
def test_a_module_is_placed_by_role_in_the_layers_that_are_chosen(config, layers, names, blocks):
    modules, found = described(config)
    shape = ModelShape(
        model_type=config.model_type,
        layers=layers,
        modules=modules,
        blocks=found,
        kv_width=32,
        head=(),
        head_parameters=0,
        total_parameters=0,
    )
    last = {m.role: m.name for m in (*modules, *found) if m.layer == layers - 1}
    for role in (*names, *blocks):
        tree = {"modules": [{"peft_type": "LORA", "target_modules": role}], "layers": {"last": 1}}
        (module,) = canonical(
            tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS
        ).architecture.modules
        assert module.targets == (last[role],)
        assert module.layers == (layers - 1,)


def test_a_role_stands_for_another_name_on_each_architecture():
    configs = (hf.BertConfig(**SIZES), hf.LlamaConfig(**GROUPED))
    names = [
        {m.kind for m in described(config)[0] if m.role == "attention.query"} for config in configs
    ]
    assert names == [{"attention.self.query"}, {"self_attn.q_proj"}]
