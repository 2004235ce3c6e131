"""What PEFT does wrongly without a word, in the order of a list, and why nobody here walks into it.

Every test shows first what PEFT does and then that a search refuses it or cannot come to it.
"""

import copy
import json
from dataclasses import replace

import pytest
import torch
import transformers as hf
from domain.matrix import base_of, logits, placed, steps, tiny_shape
from peft import DeftConfig, OFTConfig, PeftModel, XLoraConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import register_peft_method
from safetensors.torch import load_file
from torch.nn import functional as F

from autopeft.domain.architecture import Architecture, Configuration, canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.capabilities import CAPABILITIES, SEARCHABLE
from autopeft.domain.networks.peft_config import OWN
from autopeft.domain.rules.fit import unmergeable
from autopeft.domain.tasks import KINDS
from autopeft.training.inject import build
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import Base
from autopeft.training.loading.shapes import inside_layers
from autopeft.tuners import register
from autopeft.tuners.ssf import SSFConfig, SSFTuner


def far(one, other):
    return (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("peft_type", ["HIRA", "IA3", "VERA", "SSF"])
def test_1_adapter_names_are_ignored_by_most_types_and_no_batch_carries_any(peft_type, tmp_path):
    case = placed(peft_type, "llama")
    untouched = logits(case.base, "llama")
    model = case.model()
    steps(model, "llama")
    mixed = logits(model, "llama", adapter_names=["__base__", "default"])
    assert torch.equal(mixed, logits(model, "llama"))
    assert far(mixed[0], untouched[0])

    rows = [{"text": f"row {i}", "label": i % 2, "adapter_names": "__base__"} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"path": "json", "data_files": "rows.jsonl"}
    for task_type in ("SEQ_CLS", "CAUSAL_LM"):
        splits = {"train": source, "validation": source}
        data = load_data(splits, folder=str(tmp_path), task=KINDS[task_type])
        assert "adapter_names" not in data.train.column_names


def test_2_replicated_layers_merge_into_another_model():
    case = placed("LORA", "llama", layer_replication=[[0, 2], [1, 3]])
    config = case.config()
    config.target_modules = {"q_proj", "v_proj", "down_proj"}
    model = get_peft_model(case.base, config)
    steps(model, "llama")
    expected = logits(model, "llama")
    assert far(logits(model.merge_and_unload(), "llama"), expected)

    assert "layer_replication" in case.refusal()


def test_3_oft_on_a_wide_convolution_is_no_identity_and_convolutions_are_no_targets():
    torch.manual_seed(0)
    base = hf.ResNetModel(
        hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
    ).eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        untouched = base(pixels).last_hidden_state
    modules, blocks = inside_layers(base)
    config = OFTConfig(target_modules=r".*layers.*convolution", oft_block_size=4)
    model = get_peft_model(copy.deepcopy(base), config).eval()
    with torch.no_grad():
        assert far(model(pixels).last_hidden_state, untouched)

    tree = {"modules": [{"peft_type": "OFT", "target_modules": "convolution"}]}
    shape = replace(tiny_shape("vit"), modules=modules, blocks=blocks)
    with pytest.raises(ValueError, match="convolution"):
        canonical(tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS)


def test_4_a_randomly_decomposed_pissa_reloads_as_another_model(tmp_path):
    case = placed("LORA", "llama", r=2, init_lora_weights="pissa_niter_1")
    model = case.model()
    expected = logits(model, "llama")
    model.save_pretrained(tmp_path)
    again = base_of("llama")
    torch.manual_seed(99)
    assert far(logits(PeftModel.from_pretrained(again, tmp_path), "llama"), expected)

    assert "pissa_niter_1 starts from another random decomposition" in case.refusal()


@pytest.mark.parametrize("fields", [{"init_lora_weights": "pissa"}, {"kasa_config": {}}])
def test_5_unloading_does_not_restore_the_base_and_trials_have_copies_of_it(fields):
    case = placed("LORA", "llama", r=4, **fields)
    untouched = logits(case.base, "llama")
    model = case.model()
    steps(model, "llama")
    assert far(logits(model.unload(), "llama"), untouched)

    base = Base(base_of("llama").requires_grad_(False), None, "here", case.shape.head)
    configuration = Configuration("b", Architecture((case.module,)), {})
    steps(build(base, configuration, task_type="CAUSAL_LM", total_steps=2, seed=0), "llama")
    fresh = base_of("llama").state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in base.model.state_dict().items())
    assert torch.equal(logits(base.copy(1), "llama"), untouched)


class Coded(torch.nn.Linear):
    """As quantised layers: what lies in `weight` are codes, and only its own forward reads them."""

    def forward(self, x):
        return F.linear(x, self.weight * 0.01, self.bias)


def encode(case):
    """Put codes into the case's targets; the outputs are then those of rounded weights."""
    for name in case.module.targets:
        layer = case.base.get_submodule(name)
        layer.__class__ = Coded
        layer.weight.data = (layer.weight.data / 0.01).round()


def test_6_a_merge_takes_the_codes_of_a_quantised_layer_for_weights_and_is_refused():
    case = placed("LORA", "llama")
    encode(case)
    model = case.model()
    steps(model, "llama")
    expected = logits(model, "llama")
    assert far(logits(model.merge_and_unload(), "llama"), expected)

    assert unmergeable(case.module, shape=case.shape) is None
    refused = unmergeable(case.module, shape=case.shape, quantized=True)
    assert "load the base unquantised" in refused


@pytest.mark.parametrize("peft_type", ["DEFT", "FROD", "HRA"])
def test_7_types_that_read_weights_themselves_are_wrong_on_codes_and_refused(peft_type):
    case = placed(peft_type, "llama")
    encode(case)
    untouched = logits(case.base, "llama")
    assert far(logits(case.model(), "llama"), untouched)  # on plain weights it is the identity
    lora = placed("LORA", "llama")
    encode(lora)
    assert torch.equal(logits(lora.model(), "llama"), untouched)

    assert CAPABILITIES[peft_type].identity
    assert "gives wrong outputs on a quantised base" in case.refusal(quantized=True)
    assert lora.refusal(quantized=True) is None


@pytest.mark.parametrize(
    ("peft_type", "fields"), [("BEFT", {}), ("LORA", {"r": 2, "lora_bias": True}), ("SSF", {})]
)
def test_8_what_shifts_a_bias_merges_only_where_there_is_one(peft_type, fields):
    bare = placed(peft_type, "llama", **fields)
    with pytest.raises((AttributeError, RuntimeError, TypeError, ValueError)):
        bare.model().merge_and_unload()

    assert "is merged into a bias, and" in unmergeable(bare.module, shape=bare.shape)
    biased = placed(peft_type, "bert", **fields)
    assert unmergeable(biased.module, shape=biased.shape) is None
    biased.model().merge_and_unload()


@pytest.mark.parametrize(
    ("peft_type", "more"), [("P_TUNING", "trained"), ("RANDLORA", "stored"), ("SHIRA", "stored")]
)
def test_9_what_is_trained_is_not_what_is_stored_and_both_are_counted(peft_type, more, tmp_path):
    case = placed(peft_type, "llama")
    model = case.model()
    model.save_pretrained(tmp_path)
    trained, stored = trainable(model), numbers(tmp_path)
    assert trained > 1.5 * stored if more == "trained" else stored > 1.5 * trained

    assert case.known()["trainable_params"] == trained
    assert case.known()["adapter_params"] == stored


def test_10_adalora_holds_its_first_ranks_until_it_is_reloaded_and_both_are_counted(tmp_path):
    case = placed("ADALORA", "llama")
    square = tuple(name for name in case.module.targets if name.endswith("q_proj"))
    case = replace(case, module=replace(case.module, targets=square))
    model = case.model()
    steps(model, "llama")
    held = trainable(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base_of("llama"), tmp_path, is_trainable=True)
    assert held == 2 * trainable(loaded)  # init_r 6, target_r 3

    assert case.known()["trainable_params"] == held
    assert case.known()["adapter_params"] == trainable(loaded)
    assert case.known()["adapter_params"] == numbers(tmp_path)


def trainable(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def numbers(folder):
    return sum(
        tensor.numel() for tensor in load_file(folder / "adapter_model.safetensors").values()
    )


def test_11_xlora_merges_into_another_model_without_a_word_and_is_not_searched(tmp_path):
    for name in ("0", "1"):
        placed("LORA", "llama", init_lora_weights=False).model().save_pretrained(tmp_path / name)
    base = base_of("llama")
    base.config.use_cache = False
    adapters = {name: str(tmp_path / name) for name in ("0", "1")}
    config = XLoraConfig(task_type="CAUSAL_LM", hidden_size=32, adapters=adapters)
    model = get_peft_model(base, config)
    expected = logits(model, "llama")
    assert far(logits(model.merge_and_unload(), "llama"), expected)

    assert "XLORA" not in SEARCHABLE
    assert "XLORA cannot be searched" in placed("XLORA", "llama").refusal()


def test_12_the_door_of_peft_takes_no_new_name_and_ours_takes_no_old_one():
    with pytest.raises(ValueError, match="Unknown PEFT type SSF, please add an entry"):
        register_peft_method(name="ssf", config_cls=SSFConfig, model_cls=SSFTuner)

    assert PEFT_TYPE_TO_CONFIG_MAPPING["SSF"] is SSFConfig
    with pytest.raises(ValueError, match="is that of .*DeftConfig: choose another name"):
        register("DEFT", SSFConfig, SSFTuner, prefix="density_")


def test_12_deft_is_the_one_that_peft_calls_so():
    assert "DEFT" not in OWN
    assert isinstance(placed("DEFT", "llama").config(), DeftConfig)
