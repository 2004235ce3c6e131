"""PaCA moves its columns alone, and keeps their inputs alone."""

import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict
from torch import nn
from tuners.cases import base, disturb

from autopeft.tuners import PacaConfig


def columns(model):
    state = get_peft_model_state_dict(model)
    return {name: value.tolist() for name, value in state.items() if name.endswith("columns")}


def test_merged_it_has_changed_its_r_columns_and_no_other():
    model = get_peft_model(base("llama"), PacaConfig(target_modules=["down_proj"], r=7))
    disturb(model)
    layer = model.base_model.model.model.layers[1].mlp.down_proj
    before = layer.base_layer.weight.detach().clone()
    model.merge_adapter()
    changed = (layer.base_layer.weight != before).any(dim=0)
    assert changed.nonzero().flatten().tolist() == layer.adapters["default"].columns.tolist()
    assert changed.sum() == 7


def test_the_seed_and_the_module_choose_the_columns():
    first, again, other = (
        columns(get_peft_model(base("bert"), PacaConfig(target_modules=["query"], seed=seed)))
        for seed in (0, 0, 1)
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)
    assert len({tuple(chosen) for chosen in first.values()}) == 3


def test_training_keeps_r_of_d_in_channels_of_the_input():
    model = nn.ModuleDict({"q": nn.Linear(40, 24)})
    adapted = get_peft_model(model, PacaConfig(target_modules=["q"], r=5))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        adapted.base_model.model["q"](torch.randn(100, 40)).sum().backward()
    assert max(tensor.numel() for tensor in kept) == 100 * 5


def test_the_choice_of_columns_leaves_torchs_random_numbers_alone():
    model = base("bert")
    before = torch.get_rng_state()
    get_peft_model(model, PacaConfig(target_modules=["query"]))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("r", [0, 33])
def test_an_r_beyond_the_columns_is_refused(r):
    with pytest.raises(ValueError, match=f"got r={r} for 32 columns: lower r"):
        get_peft_model(base("bert"), PacaConfig(target_modules=["query"], r=r))
