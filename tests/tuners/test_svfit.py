"""SVFit moves the largest singular values, and stores nothing else."""

import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict
from torch import nn
from tuners.cases import base, disturb

from autopeft.tuners import SVFitConfig


def test_merged_it_has_moved_the_largest_singular_values_and_kept_the_rest():
    model = get_peft_model(base("llama"), SVFitConfig(target_modules=["v_proj"], r=4))
    layer = model.base_model.model.model.layers[0].self_attn.v_proj
    weight = layer.base_layer.weight.detach().clone()
    delta = layer.adapters["default"].delta
    with torch.no_grad():
        delta.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))  # Keeps their order.
    model.merge_adapter()
    before, after = torch.linalg.svdvals(weight), torch.linalg.svdvals(layer.base_layer.weight)
    torch.testing.assert_close(after[:4], before[:4] + delta)
    torch.testing.assert_close(after[4:], before[4:])


def test_taking_all_singular_values_away_leaves_no_weight():
    linear = nn.Linear(6, 4, bias=False)
    model = get_peft_model(nn.ModuleDict({"q": linear}), SVFitConfig(target_modules=["q"], r=4))
    layer = model.base_model.model["q"]
    with torch.no_grad():
        layer.adapters["default"].delta.copy_(-torch.linalg.svdvals(linear.weight))
    assert layer(torch.randn(3, 6)).abs().max() < 1e-5


def test_r_numbers_a_matrix_are_all_that_is_stored():
    model = get_peft_model(base("bert"), SVFitConfig(target_modules=["query", "value"], r=3))
    disturb(model)
    state = get_peft_model_state_dict(model)
    assert len(state) == 6
    assert {tuple(value.shape) for value in state.values()} == {(3,)}


@pytest.mark.parametrize("r", [0, 17])
def test_an_r_beyond_the_matrix_is_refused(r):
    config = SVFitConfig(target_modules=["v_proj"], r=r)
    with pytest.raises(ValueError, match=rf"got r={r} for \(16, 32\): lower r"):
        get_peft_model(base("llama"), config)


@pytest.mark.parametrize("target", ["LayerNorm", "attention"])
def test_a_module_that_is_not_linear_is_refused(target):
    with pytest.raises(ValueError, match="SVFIT adapts linear layers .*: name linear layers"):
        get_peft_model(base("bert"), SVFitConfig(target_modules=[target]))
