"""Several methods in one model: trained together, saved as one folder, loaded with equal outputs."""

import copy

import pytest
import torch
from peft import IA3Config, LNTuningConfig, LoraConfig
from safetensors.torch import load_file
from tiny_models import CONFIGS
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from autopeft.tuners import ParallelAdapterConfig, SerialAdapterConfig
from autopeft.tuners.composite import (
    inject_composite,
    is_composite,
    load_composite,
    save_composite,
)
from autopeft.tuners.prefix import LayerPrefixConfig


def base(family):
    torch.manual_seed(0)
    config = copy.deepcopy(CONFIGS[family])
    config.pad_token_id = 0
    if family == "bert":
        return AutoModelForSequenceClassification.from_config(config).eval()
    return AutoModelForCausalLM.from_config(config).eval()


def modules(family, layers=(0, 2)):
    """All the methods of the AutoPEFT paper and three of PEFT's, blocks after what they hold."""
    stem, query, value, down, feed, attention = {
        "bert": (
            "bert.encoder.layer",
            "attention.self.query",
            "attention.self.value",
            "output.dense",
            "output",
            "attention.self",
        ),
        "llama": (
            "model.layers",
            "self_attn.q_proj",
            "self_attn.v_proj",
            "mlp.down_proj",
            "mlp",
            "self_attn",
        ),
    }[family]

    def named(kind):
        return [f"{stem}.{layer}.{kind}" for layer in layers]

    return [
        LoraConfig(r=2, target_modules=named(query), init_lora_weights=False),
        LoraConfig(r=3, target_modules=named(value), init_lora_weights=False),
        IA3Config(target_modules=named(down), feedforward_modules=named(down)),
        SerialAdapterConfig(target_modules=named(down), bottleneck_size=3, init_weights=False),
        ParallelAdapterConfig(target_modules=named(feed), bottleneck_size=5, init_weights=False),
        LayerPrefixConfig(target_modules=named(attention), num_virtual_tokens=4),
    ]


def outputs(model):
    tokens = torch.arange(12).reshape(2, 6) + 3
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits


def head_of(family):
    return ["classifier"] if family == "bert" else []


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_all_modules_train_and_a_saved_folder_gives_equal_outputs(family, tmp_path):
    model = inject_composite(base(family), modules(family), head=head_of(family))
    assert is_composite(model)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    tokens = torch.arange(12).reshape(2, 6) + 3
    for _ in range(2):  # a vanishing factor may hold back its partner for the first step
        model(input_ids=tokens).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert moved == trained
    for i in range(6):
        assert any(f".module_{i}" in name for name in moved), f"module_{i}"
    assert not torch.allclose(outputs(model), outputs(base(family)), atol=1e-3)
    save_composite(model, tmp_path)
    loaded = load_composite(base(family), tmp_path).eval()
    assert torch.equal(outputs(loaded), outputs(model))


def test_what_is_stored_is_what_is_trained(tmp_path):
    model = inject_composite(base("bert"), modules("bert"), head=["classifier"])
    save_composite(model, tmp_path)
    stored = sum(
        tensor.numel()
        for file in tmp_path.glob("**/*.safetensors")
        for tensor in load_file(file).values()
    )
    assert stored == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_norms_may_be_trained_beside_adapters(tmp_path):
    configs = [
        LoraConfig(r=2, target_modules=["query"], init_lora_weights=False),
        LNTuningConfig(target_modules=["output.LayerNorm"]),
    ]
    model = inject_composite(base("bert"), configs, head=["classifier"])
    save_composite(model, tmp_path)
    loaded = load_composite(base("bert"), tmp_path).eval()
    assert torch.equal(outputs(loaded), outputs(model))


def test_a_folder_without_a_composite_and_one_of_another_model_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a composite has a composite\.json"):
        load_composite(base("bert"), tmp_path)
    save_composite(inject_composite(base("bert"), modules("bert")), tmp_path)
    with pytest.raises(ValueError, match="not found in the base model"):
        load_composite(base("llama"), tmp_path)
