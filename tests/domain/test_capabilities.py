"""What the table and the rules refuse, against the installed PEFT; what fits is in test_matrix."""

import copy
from dataclasses import replace

import pytest
import torch
from domain.matrix import base_of, config_of, logits, module_of, placed, shape_of, steps, tiny_shape
from peft import PeftModel, get_peft_model, inject_adapter_in_model
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from tiny_models import CONFIGS
from transformers import AutoModelForSequenceClassification

from autopeft.domain.architecture import Module
from autopeft.domain.networks.capabilities import CAPABILITIES
from autopeft.domain.rules.fit import unfit

REFUSED_FIELDS = [
    ("BOFT", {"boft_block_size": 5}, "BOFT needs a boft_block_size that divides the inputs"),
    ("BOFT", {"boft_block_num": 4}, "BOFT takes boft_block_size or boft_block_num"),
    ("C3A", {"block_size": 0}, "C3A needs a block_size that divides the inputs"),
    ("C3A", {"block_size": 32}, "C3A needs a block_size that divides the outputs"),
    ("FOURIERFT", {"n_frequency": 513}, "needs n_frequency within the 512 weights"),
    ("WAVEFT", {"n_frequency": 513}, "needs n_frequency within the 512 weights"),
    ("GRALORA", {"r": 3}, "GRALORA needs r divisible by gralora_k"),
    ("GRALORA", {"r": 3, "gralora_k": 3}, "GRALORA needs a gralora_k that divides the inputs"),
    ("LORA", {"use_dora": True, "lora_bias": True}, "DoRA has no lora_bias"),
    ("LORA", {"r": 16, "kasa_config": {}}, "LORA needs r of 15 or less"),
    ("LORA", {"r": 17, "init_lora_weights": "mica"}, "LORA needs r of 16 or less"),
    ("LORA", {"r": 5, "init_lora_weights": "orthogonal"}, "init orthogonal needs an even r"),
    ("LORA", {"r": 0}, "r is 1 or more"),
    ("MISS", {"r": 49}, "MISS needs r of 32 or less"),
    ("MISS", {"r": 3, "init_weights": "bat"}, "MISS needs a r that divides the inputs"),
    ("MISS", {"r": 4, "mini_r": 5, "init_weights": "mini"}, "MISS needs a mini_r that divides"),
    ("OFT", {"r": 4}, "OFT takes r or oft_block_size"),
    ("PSOFT", {"r": 17}, "PSOFT needs r of 16 or less"),
    ("ROAD", {"group_size": 32}, "ROAD needs a group_size that divides the outputs"),
    ("ROAD", {"group_size": 1}, "ROAD needs an even group_size"),
    ("SHIRA", {"r": 11}, "SHIRA needs r of 10 or less"),
    ("SUPERTUNING", {"sparsity": 0.9999}, "SUPERTUNING's sparsity leaves nothing"),
    ("VBLORA", {"vector_length": 32}, "VBLORA needs a vector_length that divides the outputs"),
    ("VBLORA", {"topk": 11}, "VBLORA mixes topk of its num_vectors"),
]


@pytest.mark.parametrize(("peft_type", "fields", "reason"), REFUSED_FIELDS)
def test_fields_that_peft_cannot_build_are_refused_with_the_rule(peft_type, fields, reason):
    case = placed(peft_type, "llama", **fields)
    assert reason in case.refusal()
    with pytest.raises(Exception):  # noqa: B017 - PEFT and torch raise all kinds
        steps(case.model(), "llama", count=1)


@pytest.mark.parametrize(
    ("peft_type", "fields"),
    [
        ("BOFT", {"boft_block_size": 0, "boft_block_num": 4}),
        ("LORA", {"r": 15, "kasa_config": {}}),
        ("LORA", {"r": 16, "init_lora_weights": "mica"}),
        ("LORA", {"r": 4, "init_lora_weights": "orthogonal"}),
        ("MISS", {"r": 32}),
        ("MISS", {"r": 16, "init_weights": "bat"}),
        ("OFT", {"r": 4, "oft_block_size": 0}),
        ("OSF", {"effective_rank": 15}),
        ("PSOFT", {"r": 16}),
        ("ROAD", {"group_size": 16}),
        ("SHIRA", {"r": 10}),
        ("VBLORA", {"topk": 10}),
        ("WAVEFT", {"n_frequency": 512}),
    ],
)
def test_the_last_value_within_a_rule_is_built(peft_type, fields):
    case = placed(peft_type, "llama", **fields)
    assert case.refusal() is None
    assert steps(case.model(), "llama", count=1)


def test_osf_that_freezes_everything_trains_nothing():
    case = placed("OSF", "llama", effective_rank=32)
    assert "OSF freezes 1 to 31 singular directions" in case.refusal()
    assert case.model().num_parameters(only_trainable=True) == 0


def test_the_rank_pattern_of_hira_changes_nothing():
    case = placed("HIRA", "llama", r=2, rank_pattern={".*": 5})
    assert "HIRA's rank_pattern" in case.refusal()
    ranks = {p.shape[0] for name, p in case.model().named_parameters() if "hira_A" in name}
    assert ranks == {2}


def test_a_cpt_mask_without_label_tokens_trains_nothing():
    case = placed("CPT", "llama", cpt_tokens_type_mask=[1, 2])
    assert "CPT counts the labels of plain examples only if" in case.refusal()
    gradients = steps(case.model(), "llama", count=1)
    assert all(g is None or not g.any() for g in gradients.values())


def test_init_eva_stays_in_the_encoder_whose_tokens_it_knows():
    case = placed("LORA", "t5", r=2, init_lora_weights="eva")
    assert "not of the decoder's, got decoder.block.0" in case.refusal()
    encoder = tuple(name for name in case.module.targets if name.startswith("encoder"))
    below = replace(case.module, targets=encoder)
    assert unfit(below, shape=case.shape, task_type="SEQ_2_SEQ_LM") is None


def test_a_method_that_cannot_train_the_head_is_refused_for_it():
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_config(copy.deepcopy(CONFIGS["llama"]))
    shape = shape_of(base, head=("score",))
    module = module_of("ADAPTION_PROMPT", "llama", shape)
    assert "leaves the new score untrained and unsaved" in unfit(
        module, shape=shape, task_type="SEQ_CLS"
    )
    model = get_peft_model(base, config_of(module, "SEQ_CLS"))
    assert not any(p.requires_grad for n, p in model.named_parameters() if "score" in n)


def test_lily_shares_by_how_its_targets_are_spelt_and_is_told_of_kinds_and_layers():
    case = placed("LILY", "llama")
    by_name = case.config()
    by_name.target_modules, by_name.layers_to_transform = set(case.module.targets), None
    apart = get_peft_model(base_of("llama"), by_name).num_parameters(only_trainable=True)
    assert case.model().num_parameters(only_trainable=True) < apart

    below = replace(case.module, targets=case.module.targets[:-1])
    assert "PEFT would wrap model.layers.2.mlp.down_proj too" in unfit(
        below, shape=case.shape, task_type="CAUSAL_LM"
    )


def test_lily_refuses_kinds_that_end_alike():
    shape = tiny_shape("bert")
    dense = [m.name for m in shape.modules if m.name.endswith("output.dense")]
    both, wide = Module("LILY", {}, tuple(dense)), Module("LILY", {}, tuple(dense[1::2]))
    assert "attention.output.dense ends as output.dense does" in unfit(
        both, shape=shape, task_type="SEQ_CLS"
    )
    assert "PEFT would wrap bert.encoder.layer.0.attention.output.dense too" in unfit(
        wide, shape=shape, task_type="SEQ_CLS"
    )


def test_trained_tokens_are_different_ids_of_the_vocabulary():
    for tokens in ([], [3, 3], [96], [-1]):
        reason = placed("TRAINABLE_TOKENS", "llama", token_indices=tokens).refusal()
        assert "different ids of the vocabulary, 0 to 95" in reason
    classifier = placed("TRAINABLE_TOKENS", "bert").refusal()
    assert "leaves the new classifier untrained" in classifier


def test_adamss_finds_its_clusters_anew_on_every_load_and_a_rounded_base_has_others(tmp_path):
    case = placed("ADAMSS", "llama")
    assert "clustered anew from the weights on every load" in case.refusal()
    model = case.model()
    for name, parameter in model.named_parameters():
        if "adamss_B" in name:
            parameter.data += 0.3
    expected, plain = logits(model, "llama"), logits(base_of("llama"), "llama")
    model.save_pretrained(tmp_path)
    rounded = base_of("llama").bfloat16().float()
    without = logits(rounded, "llama")
    loaded = logits(PeftModel.from_pretrained(rounded, tmp_path), "llama")
    assert (loaded - expected).abs().mean() > 5 * (without - plain).abs().mean()


@pytest.mark.parametrize(
    "peft_type", [kind for kind, can in sorted(CAPABILITIES.items()) if can.combines]
)
def test_what_combines_trains_beside_another_type_on_other_targets(peft_type):
    assert not PEFT_TYPE_TO_TUNER_MAPPING[peft_type].uses_shared_state
    case = placed(peft_type, "bert")
    other = Module("HRA", {}, keys(case)) if peft_type == "LORA" else lora(case)
    for name, part in (("first", other), ("second", case.module)):
        inject_adapter_in_model(config_of(part, case.task_type), case.base, name)
    for name, parameter in case.base.named_parameters():
        parameter.requires_grad = ".first" in name or ".second" in name
    gradients = steps(case.base, "bert")
    for name in (".first", ".second"):
        assert any(g is not None and g.any() for key, g in gradients.items() if name in key)


@pytest.mark.parametrize("peft_type", ["RANDLORA", "SUPERTUNING"])
def test_what_does_not_combine_asks_other_configs_for_its_fields(peft_type):
    case = placed(peft_type, "bert")
    inject_adapter_in_model(config_of(lora(case), case.task_type), case.base, "first")
    with pytest.raises(AttributeError, match="'LoraConfig' object has no attribute"):
        inject_adapter_in_model(case.config(), case.base, "second")


def lora(case):
    return Module("LORA", {"r": 2}, keys(case))


def keys(case):
    return tuple(m.name for m in case.shape.modules if m.role == "attention.key")


@pytest.mark.parametrize(
    ("peft_type", "fields", "reason"),
    [
        ("LOHA", {}, "LOHA wraps Linear, got Conv1D transformer.h.0"),
        (
            "LORA",
            {"init_lora_weights": "olora"},
            "LORA with these fields wraps Embedding, Linear, got Conv1D",
        ),
    ],
)
def test_the_messages_name_what_would_fit(peft_type, fields, reason):
    assert reason in placed(peft_type, "gpt2", **fields).refusal()


def test_a_type_that_peft_does_not_have_is_named_with_those_that_it_has():
    shape = tiny_shape("gpt2")
    assert "BONE is no PEFT type: take one of ADALORA, " in unfit(
        Module("BONE", {}), shape=shape, task_type="CAUSAL_LM"
    )
