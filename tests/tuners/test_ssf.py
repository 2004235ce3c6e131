"""SSF scales and shifts, also along the channels of a convolution."""

import pytest
import torch
from peft import get_peft_model
from torch import nn
from transformers import ViTConfig, ViTModel
from tuners.cases import base, disturb, own

from autopeft.tuners import SSFConfig


def test_the_output_is_scaled_and_shifted_by_channel():
    model = get_peft_model(base("vit"), SSFConfig(target_modules=["projection", "fc1"])).eval()
    disturb(model)
    convolution = next(
        module for name, module in model.named_modules() if name.endswith("projection")
    )
    pixels = torch.randn(2, 3, 16, 16)
    plain, adapter = convolution.base_layer(pixels), convolution.adapters["default"]
    expected = torch.einsum("nchw,c->nchw", plain, adapter.gamma)
    expected = expected + adapter.beta[None, :, None, None]
    torch.testing.assert_close(convolution(pixels), expected)


def test_on_every_operation_of_vit_base_it_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        vit = ViTModel(ViTConfig(), add_pooling_layer=False)
        config = SSFConfig(
            target_modules=[
                *("projection", "q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"),
                *("layernorm_before", "layernorm_after", "layernorm"),
            ]
        )
        model = get_peft_model(vit, config)
    assert sum(parameter.numel() for _, parameter in own(model)) == 205_824


def test_a_merge_without_a_bias_is_refused_by_name():
    model = get_peft_model(base("llama"), SSFConfig(target_modules=["down_proj"]))
    with pytest.raises(ValueError, match=r"layers.0.mlp.down_proj has no bias: keep the adapter"):
        model.merge_and_unload()


def test_a_refused_merge_leaves_the_modules_before_it_alone():
    linears = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4, bias=False)})
    before = linears["a"].weight.detach().clone()
    model = get_peft_model(linears, SSFConfig(target_modules=["a", "b"]))
    disturb(model)
    with pytest.raises(ValueError, match="b has no bias"):
        model.merge_adapter()
    assert torch.equal(model.base_model.model["a"].base_layer.weight, before)
