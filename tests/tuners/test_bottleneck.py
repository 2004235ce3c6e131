"""Serial and parallel adapters compute what their formulas say, in every kind of module."""

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.nn import functional as F
from tuners.cases import base, disturb, forward, logits, own

from autopeft.tuners import ParallelAdapterConfig, SerialAdapterConfig

_IDS = torch.arange(2, 22).view(2, 10)
ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "none": lambda h: h,
}


def adapted(family, config):
    torch.manual_seed(0)
    model = get_peft_model(base(family), config).eval()
    disturb(model)
    return model


def manual(adapter, h, act=F.relu):
    down, up = adapter.down, adapter.up
    return act(h @ down.weight.T + down.bias) @ up.weight.T + up.bias


@pytest.mark.parametrize("act_fn", ACTIVATIONS)
def test_a_serial_adapter_adds_its_scaled_map_of_the_output(act_fn):
    config = SerialAdapterConfig(target_modules=["down_proj"], act_fn=act_fn, scaling=0.5)
    layer = adapted("llama", config).base_model.model.model.layers[0].mlp.down_proj
    h = layer.base_layer(x := torch.randn(3, 48))
    expected = h + 0.5 * manual(layer.adapters["default"], h, ACTIVATIONS[act_fn])
    torch.testing.assert_close(layer(x), expected)


def test_a_parallel_adapter_adds_four_times_its_map_of_the_input():
    config = ParallelAdapterConfig(target_modules=["mlp"])
    layer = adapted("llama", config).base_model.model.model.layers[0].mlp
    x = torch.randn(3, 32)
    expected = layer.base_layer(x) + 4 * manual(layer.adapters["default"], x)
    torch.testing.assert_close(layer(x), expected)


def test_beside_berts_feed_forward_block_the_parallel_adapter_stands_inside_the_norm():
    config = ParallelAdapterConfig(target_modules=r".*layer\.\d+\.output")
    layer = adapted("bert", config).base_model.model.bert.encoder.layer[0].output
    x, h = torch.randn(3, 32), torch.randn(3, 48)
    block = layer.base_layer
    expected = block.LayerNorm(block.dense(h) + x + 4 * manual(layer.adapters["default"], x))
    torch.testing.assert_close(layer(h, x), expected)
    torch.testing.assert_close(layer(hidden_states=h, input_tensor=x), expected)


@pytest.mark.parametrize("config_class", [SerialAdapterConfig, ParallelAdapterConfig])
def test_around_an_attention_block_the_rest_of_its_tuple_is_passed_on(config_class):
    config = config_class(target_modules=["self_attn"], scaling=2.0)
    attention = adapted("llama", config).base_model.model.model.layers[0].self_attn
    x = torch.randn(1, 4, 32)
    call = {
        "hidden_states": x,
        "position_embeddings": (torch.ones(1, 4, 8), torch.zeros(1, 4, 8)),
        "attention_mask": None,
    }
    plain, weights = attention.base_layer(**call)
    output, same_weights = attention(**call)
    reads = plain if config_class is SerialAdapterConfig else x
    torch.testing.assert_close(output, plain + 2 * manual(attention.adapters["default"], reads))
    assert type(same_weights) is type(weights)


def test_two_active_parallel_adapters_add_up():
    config = ParallelAdapterConfig(target_modules=["mlp"])
    model = adapted("llama", config)
    model.add_adapter("second", ParallelAdapterConfig(target_modules=["mlp"], init_weights=False))
    model.base_model.set_adapter(["default", "second"])
    layer = model.base_model.model.model.layers[0].mlp
    x = torch.randn(3, 32)
    both = sum(4 * manual(layer.adapters[name], x) for name in ("default", "second"))
    torch.testing.assert_close(layer(x), layer.base_layer(x) + both)


def test_a_wrapped_block_still_answers_for_its_own_attributes():
    config = ParallelAdapterConfig(target_modules=["self_attn"])
    attention = adapted("llama", config).base_model.model.model.layers[2].self_attn
    assert attention.layer_idx == 2
    assert attention.is_causal is True
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = attention.no_such_thing


@pytest.mark.parametrize(
    ("family", "targets"), [("llama", ["self_attn", "mlp"]), ("gpt2", ["attn", "mlp"])]
)
def test_generation_with_a_cache_equals_generation_without(family, targets):
    model = adapted(family, ParallelAdapterConfig(target_modules=targets, task_type="CAUSAL_LM"))
    told = [
        model.generate(input_ids=_IDS, max_new_tokens=6, do_sample=False, use_cache=use_cache)
        for use_cache in (True, False)
    ]
    assert torch.equal(*told)
    assert told[0].shape == (2, 16)


def test_gradients_are_the_same_with_gradient_checkpointing():
    grads = []
    for checkpointing in (False, True):
        config = ParallelAdapterConfig(target_modules=["self_attn", "mlp"], task_type="CAUSAL_LM")
        model = adapted("llama", config).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        forward(model, "llama").square().sum().backward()
        grads.append([parameter.grad for _, parameter in own(model)])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_around_a_block_the_adapter_takes_the_precision_of_the_blocks_weights():
    config = ParallelAdapterConfig(target_modules=["mlp"])
    model = get_peft_model(base("llama").bfloat16(), config, autocast_adapter_dtype=False)
    assert {parameter.dtype for _, parameter in own(model)} == {torch.bfloat16}


def test_init_weights_false_starts_away_from_the_base_model():
    config = SerialAdapterConfig(target_modules=["fc2"], init_weights=False)
    model = get_peft_model(base("vit"), config).eval()
    assert (logits(model, "vit") - logits(base("vit"), "vit")).abs().max() > 1e-3


class Pair(nn.Module):
    """A block whose ends differ in width: they do not tell that of its hidden state."""

    def __init__(self, *linears):
        super().__init__()
        self.block = nn.Sequential(*linears)

    def forward(self, x):
        return {"x": self.block(x)}


@pytest.mark.parametrize("linears", [(), (nn.Linear(4, 8), nn.Linear(8, 2))])
def test_a_block_that_does_not_tell_its_width_is_refused(linears):
    model = nn.ModuleDict({"pair": Pair(*linears)})
    with pytest.raises(ValueError, match="of one width, got Pair with .*: target a linear layer"):
        get_peft_model(model, SerialAdapterConfig(target_modules=["pair"]))


def test_a_block_that_returns_no_tensor_is_refused_when_called():
    model = nn.ModuleDict({"pair": Pair(nn.Linear(4, 4))})
    layer = get_peft_model(model, SerialAdapterConfig(target_modules=["pair"])).base_model
    layer = layer.model["pair"]
    with pytest.raises(TypeError, match="pair returned dict: target a module inside it"):
        layer(torch.ones(4))
    with pytest.raises(TypeError, match="called with a tensor first or as hidden_states"):
        layer(y=torch.ones(4))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bottleneck_size": 0}, "bottleneck_size is 1 or more, got 0: raise it"),
        ({"act_fn": "swish"}, "one of relu, gelu, silu, tanh, none, got 'swish'"),
        ({"phm_dim": -1}, "phm_dim is 0 or divides bottleneck_size=64, got -1"),
        ({"phm_dim": 3}, "phm_dim is 0 or divides bottleneck_size=64, got 3"),
    ],
)
def test_a_config_that_breaks_a_rule_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        SerialAdapterConfig(target_modules=["mlp"], **fields)
