"""LAYER_PREFIX against PEFT's prefix tuning, attention written out, and itself."""

import copy
import math

import pytest
import torch
from peft import (
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
)
from tiny_models import CONFIGS
from torch.nn.functional import softmax
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BartConfig,
    DebertaV2Config,
    GemmaConfig,
    MistralConfig,
    ModernBertConfig,
    PhiConfig,
    RobertaConfig,
    T5Config,
    ViTConfig,
)

from autopeft.tuners.prefix import LayerPrefixConfig
from autopeft.tuners.prefix_layer import PrefixLayer

V, WIDTH = 4, 32
TARGETS = {
    "bert": "attention.self",
    "distilbert": "attention",
    "gpt2": "attn",
    "llama": "self_attn",
    "qwen3": "self_attn",
}
KERNELS = pytest.mark.parametrize("kernel", ["eager", "sdpa"])
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 96,
}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def base(family, kernel="sdpa"):
    torch.manual_seed(0)
    encoder = family in ("bert", "distilbert")
    auto = AutoModelForSequenceClassification if encoder else AutoModelForCausalLM
    config = copy.deepcopy(CONFIGS[family])
    return auto.from_config(config, attn_implementation=kernel).eval()


def adapt(model, family="", **fields):
    config = LayerPrefixConfig(
        **{"target_modules": [TARGETS.get(family, family)], "num_virtual_tokens": V, **fields}
    )
    return get_peft_model(copy.deepcopy(model), config).eval()


def layers(model):
    return [module for module in model.modules() if isinstance(module, PrefixLayer)]


def tokens(rows=2, length=7):
    return torch.randint(3, 90, (rows, length), generator=torch.Generator().manual_seed(1))


def logits(model, ids, **inputs):
    with torch.no_grad():
        return model(input_ids=ids, **inputs).logits


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@KERNELS
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "qwen3"])
def test_with_all_layers_on_and_positions_shifted_it_is_pefts_prefix_tuning(family, kernel):
    model, ids = base(family, kernel), tokens()
    task = "SEQ_CLS" if family == "bert" else "CAUSAL_LM"
    theirs = get_peft_model(
        copy.deepcopy(model), PrefixTuningConfig(task_type=task, num_virtual_tokens=V)
    ).eval()
    ours = adapt(model, family)
    flat = theirs.prompt_encoder.default.embedding.weight.data
    for layer, weight in zip(layers(ours), flat.chunk(3, dim=1), strict=True):
        layer.prefix_kv["default"].weight.data.copy_(weight)
    shifted = V + torch.arange(ids.shape[1]).expand_as(ids)
    expected = logits(theirs, ids, attention_mask=torch.ones_like(ids))
    torch.testing.assert_close(logits(ours, ids, position_ids=shifted), expected)
    assert not torch.allclose(logits(model, ids), expected, atol=1e-3)


@KERNELS
def test_a_module_that_takes_no_cache_attends_to_the_prefix_and_its_own_keys(kernel):
    model = adapt(base("distilbert", kernel), "distilbert")
    attention = model.base_model.model.distilbert.transformer.layer[0].attention
    x = torch.randn(2, 5, WIDTH)
    weight = attention.layer_prefix.prefix_kv["default"].weight

    def heads(flat):
        return flat.unflatten(-1, (4, 8)).transpose(-3, -2)

    keys, values = (heads(part).expand(2, -1, -1, -1) for part in weight.split(WIDTH, dim=1))
    query, key, value = (
        heads(part(x)) for part in (attention.q_lin, attention.k_lin, attention.v_lin)
    )
    scores = query @ torch.cat([keys, key], dim=2).mT / math.sqrt(8)
    mixed = softmax(scores, dim=-1) @ torch.cat([values, value], dim=2)
    expected = attention.out_lin(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x)[0], expected)


@KERNELS
def test_relative_position_bias_leaves_the_prefix_alone(kernel):
    config = T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4, vocab_size=96)
    torch.manual_seed(0)
    model = adapt(AutoModelForSeq2SeqLM.from_config(config, attn_implementation=kernel),
                  "encoder.block.0.layer.0.SelfAttention")  # fmt: skip
    (layer,) = layers(model)
    attention, x = layer.get_base_layer(), torch.randn(1, 5, WIDTH)

    def heads(flat):
        return flat.unflatten(-1, (4, 8)).transpose(-3, -2)

    keys, values = layer.keys_and_values(heads(x))
    scores = heads(attention.q(x)) @ torch.cat([keys, heads(attention.k(x))], dim=2).mT
    scores[..., V:] += attention.compute_bias(5, 5)
    mixed = softmax(scores, dim=-1) @ torch.cat([values, heads(attention.v(x))], dim=2)
    expected = attention.o(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x)[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", list(TARGETS))
def test_eager_and_sdpa_agree(family):
    ids = tokens()
    first, second = (adapt(base(family, kernel), family) for kernel in ("eager", "sdpa"))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(logits(first, ids), logits(second, ids), atol=1e-5, rtol=1e-4)


@KERNELS
@pytest.mark.parametrize("family", list(TARGETS))
def test_a_padded_row_is_the_row_alone(family, kernel):
    model, ids = adapt(base(family, kernel), family), tokens(1, 5)
    alone = logits(model, ids)
    padded, mask = torch.zeros(2, 8, dtype=torch.long), torch.zeros(2, 8, dtype=torch.long)
    encoder = family in ("bert", "distilbert")
    place = slice(0, 5) if encoder else slice(3, 8)
    padded[0, place], mask[0, place] = ids[0], 1
    padded[1], mask[1] = tokens(1, 8)[0], 1
    if encoder:
        found = logits(model, padded, attention_mask=mask)[:1]
    else:
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        found = logits(model, padded, attention_mask=mask, position_ids=positions)[:1, place]
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)


@KERNELS
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("cache", [{}, {"cache_implementation": "static"}, {"num_beams": 3}])
def test_generation_with_a_cache_is_generation_without_one(family, kernel, cache):
    model, ids = adapt(base(family, kernel), family), tokens()
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    wanted = {"attention_mask": mask, "max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    beams = {"num_beams": cache["num_beams"]} if "num_beams" in cache else {}
    without = model.generate(input_ids=ids, use_cache=False, **beams, **wanted)
    with_cache = model.generate(input_ids=ids, use_cache=True, **cache, **wanted)
    assert with_cache.tolist() == without.tolist()


def test_the_future_does_not_reach_the_past():
    model, ids = adapt(base("llama"), "llama"), tokens()
    changed = ids.clone()
    changed[:, -1] += 1
    before, after = logits(model, ids), logits(model, changed)
    torch.testing.assert_close(before[:, :-1], after[:, :-1])
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-4)


def test_a_layer_that_is_off_has_no_parameters_and_does_what_it_did():
    model, ids = base("bert"), tokens()
    ours = adapt(model, "bert", layers_to_transform=[2])
    assert trainable(ours) == {
        "base_model.model.bert.encoder.layer.2.attention.self.layer_prefix.prefix_kv.default.weight"
    }
    states = [
        logits_of.hidden_states
        for logits_of in (m(input_ids=ids, output_hidden_states=True) for m in (model, ours))
    ]
    assert all(torch.equal(a, b) for a, b in zip(*(s[:3] for s in states), strict=True))
    assert not torch.allclose(states[0][3], states[1][3], atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 2 * V * 16),
        ({"prefix_projection": True}, V * 16 + 17 * 16 + 17 * 32),
        (
            {"prefix_projection": True, "encoder_hidden_size": 5},
            V * 16 + 17 * 5 + 6 * 32,
        ),
    ],
)
def test_parameters_are_those_of_the_formula(fields, count):
    model = adapt(base("llama"), "llama", layers_to_transform=[0, 2], **fields)
    assert model.get_nb_trainable_parameters()[0] == 2 * count  # keys are 16 wide: two heads of 8


@pytest.mark.parametrize("projection", [False, True])
def test_only_the_prefix_and_the_head_get_gradients(projection):
    model = adapt(base("bert"), "bert", prefix_projection=projection, task_type="SEQ_CLS").train()
    model(input_ids=tokens(), labels=torch.tensor([0, 1])).loss.backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == trainable(model)
    assert all("prefix_kv" in name or "classifier" in name for name in reached)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_gradient_checkpointing_changes_no_gradient(family, reentrant):
    model = adapt(base(family), family)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
        model.zero_grad()
        torch.manual_seed(0)
        model.train()(input_ids=tokens()).logits.square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.requires_grad])
    assert all(gradient.any() for gradient in gradients[0])
    torch.testing.assert_close(*gradients)


def test_disabled_it_is_the_base_and_unloaded_too():
    model, ids = base("llama"), tokens()
    ours = adapt(model, "llama")
    with ours.disable_adapter():
        assert torch.equal(logits(ours, ids), logits(model, ids))
    bare = ours.unload()
    assert torch.equal(logits(bare, ids), logits(model, ids))
    assert bare.state_dict().keys() == model.state_dict().keys()
    assert bare.model.layers[0].self_attn.config is bare.model.config


@pytest.mark.parametrize("projection", [False, True])
def test_a_saved_adapter_gives_the_same_outputs_and_holds_the_prefix_alone(projection, tmp_path):
    model, ids = base("llama"), tokens()
    ours = adapt(model, "llama", prefix_projection=projection)
    ours.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(copy.deepcopy(model), tmp_path).eval()
    torch.testing.assert_close(logits(again, ids), logits(ours, ids), atol=1e-6, rtol=1e-6)
    stored = get_peft_model_state_dict(ours)
    assert [tuple(tensor.shape) for tensor in stored.values()] == [(V, 2 * 16)] * 3
    further = PeftModel.from_pretrained(copy.deepcopy(model), tmp_path, is_trainable=True)
    assert further.get_nb_trainable_parameters()[0] == 3 * 2 * V * 16
    torch.testing.assert_close(logits(further.eval(), ids), logits(ours, ids))


def test_a_copy_is_independent():
    ours, ids = adapt(base("llama"), "llama"), tokens()
    copied = copy.deepcopy(ours)
    before = logits(ours, ids)
    assert torch.equal(logits(copied, ids), before)
    with torch.no_grad():
        for layer in layers(copied):
            layer.prefix_kv["default"].weight.zero_()
    copied.base_model.disable_adapter_layers()
    assert torch.equal(logits(ours, ids), before)


def test_of_two_adapters_the_active_one_works():
    model, ids = base("llama"), tokens()
    ours = adapt(model, "llama")
    first = logits(ours, ids)
    ours.add_adapter(
        "other",
        LayerPrefixConfig(
            target_modules=["self_attn"], layers_to_transform=[1], num_virtual_tokens=2
        ),
    )
    assert torch.equal(logits(ours, ids), first)
    ours.set_adapter("other")
    assert trainable(ours) == {
        "base_model.model.model.layers.1.self_attn.layer_prefix.prefix_kv.other.weight"
    }
    second = logits(ours, ids)
    ours.set_adapter("default")
    assert torch.equal(logits(ours, ids), first)
    assert not torch.allclose(first, second, atol=1e-3)
    ours.delete_adapter("default")
    ours.set_adapter("other")
    assert torch.equal(logits(ours, ids), second)


def test_two_active_adapters_are_one_with_both_prefixes():
    model, ids = base("llama"), tokens()
    both, long = adapt(model, "llama"), adapt(model, "llama", num_virtual_tokens=2 * V)
    both.add_adapter("other", LayerPrefixConfig(target_modules=["self_attn"], num_virtual_tokens=V))
    both.base_model.set_adapter(["default", "other"])
    for one, other in zip(layers(long), layers(both), strict=True):
        weights = [other.prefix_kv[name].weight for name in ("default", "other")]
        one.prefix_kv["default"].weight.data.copy_(torch.cat(weights))
    torch.testing.assert_close(logits(both, ids), logits(long, ids))


@pytest.mark.parametrize("merge", ["merge_adapter", "merge_and_unload"])
def test_merging_is_refused(merge):
    with pytest.raises(ValueError, match=r"cannot be merged: .* keep the adapter, or unload\(\)"):
        getattr(adapt(base("llama"), "llama"), merge)()


@pytest.mark.parametrize("order", [("lora", "prefix"), ("prefix", "lora")])
def test_lora_and_a_prefix_train_in_one_model_whichever_came_first(order):
    configs = {
        "lora": LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
        "prefix": LayerPrefixConfig(target_modules=["self_attn"], num_virtual_tokens=V),
    }
    model = base("llama")
    for name in order:
        inject_adapter_in_model(configs[name], model, adapter_name=name)
    names = trainable(model)
    assert sum("lora_" in name for name in names) == 3 * 2 * 2
    assert sum("prefix_kv" in name for name in names) == 3
    assert len(names) == 15
    model(input_ids=tokens()).logits.square().mean().backward()
    assert all(model.get_parameter(name).grad.any() for name in names)
    stored = get_peft_model_state_dict(model, adapter_name="prefix")
    assert all("prefix_kv" in name for name in stored)
    assert len(stored) == 3


FAMILIES = [
    (RobertaConfig(**SIZE), "attention.self", AutoModel),
    (MistralConfig(num_key_value_heads=2, sliding_window=3, **SIZE, **ENDS), "self_attn", AutoModel),
    (GemmaConfig(num_key_value_heads=1, head_dim=16, **SIZE, **ENDS), "self_attn", AutoModel),
    (PhiConfig(**SIZE, **ENDS), "self_attn", AutoModel),
    (
        ModernBertConfig(**SIZE, cls_token_id=1, sep_token_id=2, **ENDS),
        "attn",
        AutoModel,
    ),
    (ViTConfig(**{k: SIZE[k] for k in list(SIZE)[:4]}, image_size=8, patch_size=4), "attention", AutoModel),
    (T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=96, decoder_start_token_id=0), "SelfAttention", AutoModel),
    (T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=96, decoder_start_token_id=0), "EncDecAttention", AutoModel),
    (BartConfig(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=96), r".*(self|encoder)_attn", AutoModel),
]  # fmt: skip


@KERNELS
@pytest.mark.parametrize(
    ("config", "target", "auto"),
    FAMILIES,
    ids=[f"{config.model_type}-{target}" for config, target, _ in FAMILIES],
)
def test_every_family_of_transformers_attention_trains_a_prefix(config, target, auto, kernel):
    torch.manual_seed(0)
    model = auto.from_config(copy.deepcopy(config), attn_implementation=kernel)
    targets = target if target.startswith(".*") else [target]
    ours = adapt(model, target_modules=targets)
    if config.model_type == "vit":
        inputs = {"pixel_values": torch.randn(2, 3, 8, 8)}
    else:
        inputs = {"input_ids": tokens()}
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens()[:, :4]
    ours(**inputs)[0].square().mean().backward()
    assert layers(ours)
    assert all(layer.prefix_kv["default"].weight.grad.any() for layer in layers(ours))


def test_an_attention_outside_of_transformers_interface_is_refused():
    model = AutoModel.from_config(DebertaV2Config(**SIZE))
    with pytest.raises(ValueError, match="got DisentangledSelfAttention at .*DeBERTa, cannot"):
        adapt(model, "attention.self")
    with pytest.raises(ValueError, match=r"got BertAttention at .*attention.self in BERT"):
        adapt(base("bert"), "attention")


def test_a_kernel_that_takes_no_mask_is_refused():
    model = base("llama")
    ours = adapt(model, "llama")
    ours.base_model.model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="needs attn_implementation eager or sdpa, got flex"):
        logits(ours, tokens())
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="load the model with one of them"):
        adapt(model, "llama")


@pytest.mark.parametrize("name", ["num_virtual_tokens", "encoder_hidden_size"])
def test_a_size_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"needs {name} >= 1, got 0: raise it"):
        LayerPrefixConfig(target_modules=["self_attn"], **{name: 0})
