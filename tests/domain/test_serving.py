"""What can be served: by vLLM as an adapter, or merged."""

from dataclasses import replace

import pytest
from fakes import bert_shape

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.objective import Constraint
from autopeft.domain.rules.serving import servable_metrics, unmerged_because, unserved_by_vllm

DECODER = replace(bert_shape(), head=(), head_parameters=0)
LORA = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}
SERIAL = {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 4}


def architecture(*modules, shape=DECODER, allocation="uniform", full=False):
    tree = {"modules": list(modules), "allocation": allocation, "full_fine_tuning": full}
    found = canonical(tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS)
    return found.architecture


def test_plain_lora_is_served():
    assert unserved_by_vllm(architecture(LORA), DECODER) is None
    assert servable_metrics(architecture(LORA), DECODER, quantized=False) == {
        "servable_vllm": 1.0,
        "servable_merged": 1.0,
    }


def test_so_is_a_whole_model():
    assert unserved_by_vllm(architecture(full=True), DECODER) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "LOHA"}, "it loads LoRA, got LOHA"),
        ({"use_dora": True}, "no use_dora"),
        ({"lora_bias": True}, "no lora_bias"),
        ({"bias": "lora_only"}, "no biases"),
        ({"r": 1024}, "ranks up to 512, got 1024"),
        ({"r": 512, "init_lora_weights": "corda"}, "got 1024"),
        ({"rank_pattern": {"query": 4}}, "is scaled otherwise"),
        ({"alpha_pattern": {"query": 4}}, "is scaled otherwise"),
    ],
)
def test_what_vllm_does_not_load_is_said(changes, said):
    module = {**LORA, **changes}
    if module["peft_type"] != "LORA":
        module.pop("lora_alpha")
    assert said in unserved_by_vllm(architecture(module), DECODER)


@pytest.mark.parametrize(
    "changes",
    [
        {"rank_pattern": {"query": 4}, "alpha_pattern": {"query": 8}},
        {"use_rslora": True, "rank_pattern": {"query": 2}, "alpha_pattern": {"query": 8}},
        {"r": 512},
        {"r": {"per_layer": [8, 8, 4, 4, 2, 2]}},
    ],
)
def test_ranks_that_differ_are_fine_under_one_scaling(changes):
    assert unserved_by_vllm(architecture({**LORA, **changes}), DECODER) is None


def test_a_trained_head_several_modules_and_adalora_are_not_served():
    with_head = bert_shape()
    assert "trained classifier" in unserved_by_vllm(architecture(LORA, shape=with_head), with_head)
    assert "got 2 modules" in unserved_by_vllm(architecture(LORA, SERIAL), DECODER)
    assert "ADALORA" in unserved_by_vllm(architecture(LORA, allocation="adalora"), DECODER)


def test_what_computes_otherwise_or_is_quantised_does_not_merge():
    assert "SERIAL_ADAPTER" in unmerged_because(architecture(SERIAL), DECODER, quantized=False)
    assert unmerged_because(architecture(LORA), DECODER, quantized=True) is not None
    assert unmerged_because(architecture(LORA, SERIAL), DECODER, quantized=False) is not None


def test_the_constraint_is_known_and_holds_by_the_metric():
    constraint = Constraint.servable("vllm")
    assert constraint.known
    assert constraint.holds({"servable_vllm": 1.0})
    assert not constraint.holds({"servable_vllm": 0.0})
