"""An adapter turned down keeps a share of its effect, and comes back bit for bit."""

import pytest
import torch
from peft import PeftModel

import autopeft.tuners  # noqa: F401 - registers its methods with PEFT
from autopeft.allocation.suppression import adapters_by_layer, suppressed

METHODS = {
    "LORA": {"r": 4, "lora_alpha": 7, "init_lora_weights": False},
    "dora": {"r": 4, "init_lora_weights": False, "use_dora": True},
    "IA3": {},
    "VERA": {"r": 8},
    "LOHA": {"r": 4, "init_weights": False},
    "LOKR": {"r": 4, "init_weights": False},
    "OFT": {"r": 0, "oft_block_size": 4},
    "HRA": {"r": 4},
    "FOURIERFT": {"n_frequency": 20},
    "LN_TUNING": {"target_modules": ["LayerNorm"]},
    "SERIAL_ADAPTER": {},
    "PARALLEL_ADAPTER": {"target_modules": ["attention.self"]},
    "LAYER_PREFIX": {"target_modules": ["attention.self"]},
}


def shaken(lab, method, family="bert"):
    """An adapter that does something: every trainable tensor away from its start."""
    fields = {**METHODS[method]}
    model = lab.peft(family, {"dora": "LORA"}.get(method, method), **fields).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_a_module_keeps_a_share_of_its_effect_and_comes_back_bit_for_bit(lab, method):
    model = shaken(lab, method)
    module = adapters_by_layer(model)[1][0]
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    # What runs: the module itself, or what it is a child of. Attention gives a tuple.
    host = module if hasattr(module, "base_layer") else module.get_base_layer()

    def output():
        with torch.no_grad():
            found = host(x)
        return found if isinstance(found, torch.Tensor) else found[0]

    adapted = output()
    module._disable_adapters = True
    base = output()
    module._disable_adapters = False
    with suppressed([module], 0.25):
        found = output()
    assert (adapted - base).abs().max() > 1e-3
    assert torch.allclose(found, base + 0.25 * (adapted - base), atol=1e-5)
    assert torch.equal(output(), adapted)


def test_scalings_that_differ_by_module_come_back_bit_for_bit(lab):
    model = lab.peft(
        "bert", r=9, lora_alpha=2, rank_pattern={"value": 7}, alpha_pattern={"value": 0.3}
    )
    modules = [module for found in adapters_by_layer(model).values() for module in found]
    before = [dict(module.scaling) for module in modules]
    assert any(scaling["default"] * 0.3 / 0.3 != scaling["default"] for scaling in before)

    def probe():
        with suppressed(modules, 0.3):
            assert [m.scaling["default"] for m in modules] == [0.3 * b["default"] for b in before]
            raise RuntimeError("in the middle of a probe")

    with pytest.raises(RuntimeError, match="in the middle"):
        probe()
    assert [module.scaling for module in modules] == before
    assert len({scaling["default"] for scaling in before}) == 2


def test_only_the_given_layers_are_turned_down(lab):
    model = shaken(lab, "LORA")
    layers = adapters_by_layer(model)
    assert sorted(layers) == [0, 1, 2, 3]
    assert all(len(modules) == 2 for modules in layers.values())
    with suppressed(layers[2], 0.25):
        now = {i: {m.scaling["default"] for m in modules} for i, modules in layers.items()}
    assert now == {0: {1.75}, 1: {1.75}, 2: {0.4375}, 3: {1.75}}


def test_an_adapter_with_a_part_of_the_pretrained_weights_is_refused(lab):
    model = lab.peft("bert", init_lora_weights="pissa")
    assert isinstance(model, PeftModel)
    with pytest.raises(ValueError, match="hold nothing of the pretrained weights, got .*'pissa'"):
        adapters_by_layer(model)
