"""Tuners of several kinds in one model, by PEFT's `inject_adapter_in_model`."""

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from tuners.cases import base, forward, logits

from autopeft.tuners import (
    PacaConfig,
    ParallelAdapterConfig,
    SerialAdapterConfig,
    SSFConfig,
    SVFitConfig,
)
from autopeft.tuners.layer import TunerLayer

CONFIGS = [
    PacaConfig(target_modules=["q_proj"], r=4),
    SVFitConfig(target_modules=["v_proj"], r=4),
    SSFConfig(target_modules=["input_layernorm", "down_proj"]),
    LoraConfig(target_modules=["up_proj"], r=2),
    SerialAdapterConfig(target_modules=["self_attn"], bottleneck_size=4),
    ParallelAdapterConfig(target_modules=["mlp"], bottleneck_size=4),
]


def together():
    """All of them under one name, inner modules before the blocks around them."""
    torch.manual_seed(0)
    model = base("llama")
    for config in CONFIGS:
        inject_adapter_in_model(config, model, "one")
    adapters = {name: p for name, p in model.named_parameters() if ".one" in name}
    for parameter in adapters.values():
        parameter.requires_grad_(True)
    return model.eval(), adapters


def test_they_start_as_the_base_model_and_all_of_them_learn():
    model, adapters = together()
    torch.testing.assert_close(logits(model, "llama"), logits(base("llama"), "llama"))
    with torch.no_grad():
        for parameter in adapters.values():
            parameter.add_(0.1)
    forward(model, "llama").square().sum().backward()
    assert len(adapters) == 3 * (1 + 1 + 2 * 2 + 2 + 4 + 4)
    assert all(parameter.grad.any() for parameter in adapters.values())


def test_on_one_module_two_tuners_keep_apart():
    model = base("llama")
    inject_adapter_in_model(SSFConfig(target_modules=["q_proj"]), model, "one")
    inject_adapter_in_model(PacaConfig(target_modules=["q_proj"], r=4), model, "one")
    outer = model.model.layers[0].self_attn.q_proj
    assert isinstance(outer, TunerLayer)
    assert [type(layer).__name__ for layer in (outer, outer.base_layer)] == [
        "PacaLayer",
        "SSFLayer",
    ]
    stored = get_peft_model_state_dict(model, adapter_name="one")
    assert len(stored) == 3 * (2 + 2)
    with pytest.raises(ValueError, match="one tuner a module can be merged, .*q_proj has another"):
        outer.merge()
