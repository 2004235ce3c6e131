"""One name for what a module does, on every architecture: built from tiny configs, no weights."""

import pytest
import torch
import transformers as hf

from autopeft.training.model import inside_layers

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "vocab_size": 96,
}
GROUPED = SIZES | {"num_key_value_heads": 2, "pad_token_id": 0}
SEPARATE = {"attention.query", "attention.key", "attention.value", "attention.output"}
PLAIN = {"feed_forward.up", "feed_forward.down"}
GATED = PLAIN | {"feed_forward.gate"}
CROSS = {role.replace("attention", "cross_attention") for role in SEPARATE}
FUSED = {"attention.qkv", "attention.output"}
BLOCKS = {"attention", "feed_forward"}
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
# config, layers, roles of its linear maps, roles of its blocks
FAMILIES = [
    *((config, 2, SEPARATE | GATED, BLOCKS) for config in DECODER),
    (hf.BertConfig(**SIZES), 2, SEPARATE | PLAIN, BLOCKS),
    (hf.RobertaConfig(**SIZES), 2, SEPARATE | PLAIN, BLOCKS),
    (hf.ElectraConfig(**SIZES), 2, SEPARATE | PLAIN, BLOCKS),
    (hf.DebertaConfig(**SIZES), 2, FUSED | PLAIN, BLOCKS),
    (hf.DebertaV2Config(**SIZES), 2, SEPARATE | PLAIN, BLOCKS),
    (
        hf.DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=96),
        2,
        SEPARATE | PLAIN,
        BLOCKS,
    ),
    (
        hf.ModernBertConfig(**SIZES, pad_token_id=0),
        2,
        FUSED | {"feed_forward.gate_up", "feed_forward.down"},
        BLOCKS,
    ),
    (hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=96), 2, FUSED | PLAIN, BLOCKS),
    (hf.GPTNeoXConfig(**SIZES), 2, FUSED | PLAIN, BLOCKS),
    (hf.PhiConfig(**SIZES), 2, SEPARATE | PLAIN, BLOCKS),
    (
        hf.Phi3Config(**GROUPED),
        2,
        FUSED | {"feed_forward.gate_up", "feed_forward.down"},
        BLOCKS,
    ),
    (hf.T5Config(**T5), 4, SEPARATE | PLAIN | CROSS, BLOCKS | {"cross_attention"}),
    (
        hf.T5Config(**T5, feed_forward_proj="gated-gelu"),
        4,
        SEPARATE | GATED | CROSS,
        BLOCKS | {"cross_attention"},
    ),
    (hf.BartConfig(**BART), 4, SEPARATE | PLAIN | CROSS, {"attention", "cross_attention"}),
    (
        hf.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            image_size=32,
            patch_size=8,
        ),
        2,
        SEPARATE | PLAIN,
        BLOCKS,
    ),
]


@pytest.mark.parametrize(
    ("config", "layers", "roles", "blocks"),
    FAMILIES,
    ids=[f"{i}-{family[0].model_type}" for i, family in enumerate(FAMILIES)],
)
def test_every_linear_map_and_block_of_a_layer_has_its_role(config, layers, roles, blocks):
    with torch.device("meta"):
        model = hf.AutoModel.from_config(config)
    modules, found = inside_layers(model)
    linear = [module for module in modules if module.linear]
    assert {module.role for module in linear} == roles
    assert {module.layer for module in modules} == set(range(layers))
    assert {block.role for block in found} == blocks
    assert all(module.role == "norm" for module in modules if not module.linear)
    decoder_only = {"cross_attention"} if layers == 4 else set()
    for layer in range(layers):
        here = {block.role for block in found if block.layer == layer}
        assert here in (blocks, blocks - decoder_only)
    assert {(block.inputs, block.outputs) for block in found} == {(32, 32)}


def test_a_role_stands_for_another_name_on_each_architecture():
    with torch.device("meta"):
        bert = hf.AutoModel.from_config(hf.BertConfig(**SIZES))
        llama = hf.AutoModel.from_config(hf.LlamaConfig(**GROUPED))
    names = [
        {m.kind for m in inside_layers(model)[0] if m.role == "attention.query"}
        for model in (bert, llama)
    ]
    assert names == [{"attention.self.query"}, {"self_attn.q_proj"}]
