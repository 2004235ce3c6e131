"""The table of capabilities against the installed PEFT, on tiny models of five families."""

import copy
import re
from dataclasses import replace

import pytest
import torch
from peft import PeftModel, PeftType, get_peft_model, inject_adapter_in_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from tiny_models import CONFIGS
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

import autopeft.tuners  # noqa: F401 - makes our own known to PEFT
from autopeft.domain.architecture import Module, match_targets
from autopeft.domain.capabilities import BLOCK, CAPABILITIES, MODEL
from autopeft.domain.fit import unfit, unmergeable
from autopeft.domain.model import ModelShape
from autopeft.domain.peft_config import OWN
from autopeft.training.model import inside_layers

T5 = T5Config(
    vocab_size=96, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0,
    decoder_start_token_id=0,
)  # fmt: skip
VIT = ViTConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
    image_size=16, patch_size=8, num_labels=3,
)  # fmt: skip
FAMILIES = {
    "bert": (AutoModelForSequenceClassification, CONFIGS["bert"], "SEQ_CLS"),
    "llama": (AutoModelForCausalLM, CONFIGS["llama"], "CAUSAL_LM"),
    "gpt2": (AutoModelForCausalLM, CONFIGS["gpt2"], "CAUSAL_LM"),
    "vit": (ViTForImageClassification, VIT, "IMAGE_CLS"),
    "t5": (T5ForConditionalGeneration, T5, "SEQ_2_SEQ_LM"),
}
TARGETS = {
    "bert": r"(attention\.self\.(query|value)|output\.dense)$",
    "llama": r"(q_proj|v_proj|down_proj)$",
    "gpt2": r"(c_attn|c_fc)$",
    "vit": r"(q_proj|v_proj|query|value|output\.dense|fc2)$",
    "t5": r"(\.q|\.v|\.wo)$",
}
FIELDS = {
    "ADALORA": {"total_step": 10, "tinit": 1, "tfinal": 1},
    "ADAPTION_PROMPT": {"adapter_len": 3, "adapter_layers": 2},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 8},
    "CARTRIDGE": {"num_virtual_tokens": 4},
    "CPT": {"cpt_token_ids": [1, 2], "cpt_mask": [1, 1], "cpt_tokens_type_mask": [1, 4]},
    "FOURIERFT": {"n_frequency": 40},
    "FROD": {"progressbar": False},
    "GRALORA": {"r": 4},
    "MISS": {"r": 4},
    "OFT": {"oft_block_size": 8},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "PSOFT": {"r": 4},
    "P_TUNING": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "RANDLORA": {"r": 8},
    "ROAD": {"group_size": 8},
    "PACA": {"r": 4},
    "SHIRA": {"r": 2},
    "SVFIT": {"r": 4},
    "SUPERTUNING": {"sparsity": 0.9},
    "UNILORA": {"init_theta_d_bound": 0.5},  # as it is not the identity, let it be seen
    "VBLORA": {"vector_length": 8, "num_vectors": 10},
    "WAVEFT": {"n_frequency": 40},
}


def base_of(family):
    """The same random model every time."""
    auto, config, _ = FAMILIES[family]
    torch.manual_seed(0)
    build = getattr(auto, "from_config", None) or auto
    model = build(copy.deepcopy(config))
    for parameter in model.parameters():  # no zero bias: a wrong merge shows
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


def shape_of(model, family):
    modules, blocks = inside_layers(model)
    head = ("classifier",) if family in ("bert", "vit") else ()
    return ModelShape(
        model_type=model.config.model_type,
        layers=1 + max(module.layer for module in modules),
        modules=modules,
        blocks=blocks,
        kv_width=16,
        head=head,
        head_parameters=99 if head else 0,
        total_parameters=model.num_parameters(),
    )


def module_of(peft_type, family, shape, **fields):
    fields = {**FIELDS.get(peft_type, {}), **fields}
    targets = ()
    wraps = CAPABILITIES[peft_type].wraps
    if wraps == {BLOCK}:
        targets = tuple(target.name for target in match_targets(None, shape, peft_type))
    elif wraps != {MODEL}:
        targets = tuple(
            m.name for m in shape.modules if m.linear and re.search(TARGETS[family], m.name)
        )
    if peft_type == "IA3":
        fields["feedforward_modules"] = [m.name for m in shape.modules if m.feedforward]
        fields["feedforward_modules"] = [n for n in fields["feedforward_modules"] if n in targets]
    return Module(peft_type, fields, targets, tuple(range(shape.layers)))


def config_of(module, task_type):
    fields = dict(module.fields)
    if module.targets:
        fields["target_modules"] = list(module.targets)
    task = None if task_type == "IMAGE_CLS" else task_type
    if task is None and CAPABILITIES[module.peft_type].tasks is None:
        fields["modules_to_save"] = ["classifier"]
    return PEFT_TYPE_TO_CONFIG_MAPPING[module.peft_type](task_type=task, **fields)


def batch_of(family):
    torch.manual_seed(1)
    if family == "vit":
        return {"pixel_values": torch.randn(2, 3, 16, 16), "labels": torch.tensor([0, 2])}
    ids = torch.randint(3, 96, (2, 6))
    labels = torch.tensor([0, 1]) if family == "bert" else ids
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def logits(model, family):
    """Of the text's own tokens; virtual tokens before it have some too."""
    batch = batch_of(family)
    labels = batch.pop("labels")  # a reloaded AdaLoRA has no loss
    if family == "t5":
        batch["decoder_input_ids"] = labels
    with torch.no_grad():
        found = model.eval()(**batch).logits
    return found[:, -6:] if found.ndim == 3 else found


def steps(model, family, count=2):
    """Train, and give back what a step moved: {name: gradient}."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.05)
    model.train()
    for _ in range(count):
        optimizer.zero_grad()
        model(**batch_of(family)).loss.backward()
        optimizer.step()
    return {name: p.grad for name, p in trained.items()}


def prepared(peft_type, family, **fields):
    base = base_of(family)
    shape, task_type = shape_of(base, family), FAMILIES[family][2]
    module = module_of(peft_type, family, shape, **fields)
    return base, shape, module, task_type


CASES = [(kind, family) for kind in sorted(CAPABILITIES) for family in FAMILIES]


def fits(peft_type, family):
    _, shape, module, task_type = prepared(peft_type, family)
    return unfit(module, shape=shape, task_type=task_type) is None


FITTING = [case for case in CASES if fits(*case)]
UNFITTING = [
    case for case in CASES if case not in FITTING and CAPABILITIES[case[0]].unsearchable is None
]


def test_the_table_holds_the_installed_types_and_no_other():
    assert set(CAPABILITIES) - set(OWN) == {kind.value for kind in PeftType}


@pytest.mark.parametrize(("peft_type", "family"), FITTING)
def test_what_fits_trains_saves_reloads_and_merges(peft_type, family, tmp_path):
    base, shape, module, task_type = prepared(peft_type, family)
    untouched = logits(base, family)
    torch.manual_seed(2)
    model = get_peft_model(base, config_of(module, task_type))
    fresh = (logits(model, family) - untouched).abs().max()
    assert (fresh < 1e-5) == CAPABILITIES[peft_type].identity, f"a fresh adapter moves it {fresh}"

    gradients = steps(model, family)
    assert gradients
    assert all(g is None or torch.isfinite(g).all() for g in gradients.values())
    assert any(g is not None and g.abs().sum() > 0 for g in gradients.values())
    frozen = dict(base_of(family).named_parameters())
    assert not set(gradients) & {f"base_model.model.{name}" for name in frozen}

    expected = logits(model, family)
    assert not torch.equal(expected, untouched)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base_of(family), tmp_path)
    torch.testing.assert_close(logits(loaded, family), expected, rtol=1e-4, atol=1e-4)
    if unmergeable(module, shape=shape) is not None:
        with pytest.raises(Exception):  # noqa: B017 - PEFT raises all kinds
            loaded.merge_and_unload()
        return
    merged = logits(loaded.merge_and_unload(), family)
    torch.testing.assert_close(merged, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("peft_type", "family"), UNFITTING)
def test_what_does_not_fit_fails_or_leaves_something_out(peft_type, family):
    base, _, module, task_type = prepared(peft_type, family)
    with pytest.raises(Exception):  # noqa: B017 - PEFT and torch raise all kinds
        steps(get_peft_model(base, config_of(module, task_type)), family, count=1)


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
    base, shape, module, task_type = prepared(peft_type, "llama", **fields)
    assert reason in unfit(module, shape=shape, task_type=task_type)
    with pytest.raises(Exception):  # noqa: B017 - PEFT and torch raise all kinds
        steps(get_peft_model(base, config_of(module, task_type)), "llama", count=1)


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
    base, shape, module, task_type = prepared(peft_type, "llama", **fields)
    assert unfit(module, shape=shape, task_type=task_type) is None
    assert steps(get_peft_model(base, config_of(module, task_type)), "llama", count=1)


def refusal(peft_type, family, **fields):
    base, shape, module, task_type = prepared(peft_type, family, **fields)
    config = config_of(module, task_type)
    return unfit(module, shape=shape, task_type=task_type), base, config


def test_osf_that_freezes_everything_trains_nothing():
    reason, base, config = refusal("OSF", "llama", effective_rank=32)
    assert "OSF freezes 1 to 31 singular directions" in reason
    trained = [p for p in get_peft_model(base, config).parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == 0


def test_replicated_layers_merge_into_another_model():
    reason, base, config = refusal("LORA", "llama", layer_replication=[[0, 2], [1, 3]])
    assert "layer_replication" in reason
    config.target_modules = {"q_proj", "v_proj", "down_proj"}
    model = get_peft_model(base, config)
    steps(model, "llama")
    expected = logits(model, "llama")
    merged = logits(model.merge_and_unload(), "llama")
    assert (merged - expected).abs().max() > 1e-3


def test_a_randomly_decomposed_pissa_reloads_as_another_model(tmp_path):
    reason, base, config = refusal("LORA", "llama", r=2, init_lora_weights="pissa_niter_1")
    assert "pissa_niter_1 starts from another random decomposition" in reason
    model = get_peft_model(base, config)
    expected = logits(model, "llama")
    model.save_pretrained(tmp_path)
    again = base_of("llama")
    torch.manual_seed(99)
    loaded = PeftModel.from_pretrained(again, tmp_path)
    assert (logits(loaded, "llama") - expected).abs().max() > 1e-3


def test_the_rank_pattern_of_hira_changes_nothing():
    reason, base, config = refusal("HIRA", "llama", r=2, rank_pattern={".*": 5})
    assert "HIRA's rank_pattern" in reason
    sizes = {p.shape for n, p in get_peft_model(base, config).named_parameters() if "hira_A" in n}
    assert {shape[0] for shape in sizes} == {2}


def test_a_cpt_mask_without_label_tokens_trains_nothing():
    reason, base, config = refusal("CPT", "llama", cpt_tokens_type_mask=[1, 2])
    assert "CPT counts the labels of plain examples only if" in reason
    gradients = steps(get_peft_model(base, config), "llama", count=1)
    assert all(g is None or not g.any() for g in gradients.values())


def test_a_method_that_cannot_train_the_head_is_refused_for_it():
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_config(copy.deepcopy(CONFIGS["llama"]))
    shape = replace(shape_of(base, "llama"), head=("score",), head_parameters=64)
    module = module_of("ADAPTION_PROMPT", "llama", shape)
    assert "leaves the new score untrained and unsaved" in unfit(
        module, shape=shape, task_type="SEQ_CLS"
    )
    model = get_peft_model(base, config_of(module, "SEQ_CLS"))
    assert not any(p.requires_grad for n, p in model.named_parameters() if "score" in n)


def test_lily_shares_by_how_its_targets_are_spelt():
    reason, base, spelt = refusal("LILY", "llama")
    assert "LILY cannot be searched" in reason
    short = copy.deepcopy(spelt)
    short.target_modules = {"q_proj", "v_proj", "down_proj"}
    sizes = [
        get_peft_model(model, config).num_parameters(only_trainable=True)
        for model, config in ((base, spelt), (base_of("llama"), short))
    ]
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("fields", [("BEFT", {}), ("LORA", {"r": 2, "lora_bias": True})])
def test_what_shifts_a_bias_merges_only_where_there_is_one(fields):
    peft_type, options = fields
    base, shape, module, task_type = prepared(peft_type, "llama", **options)
    assert "is merged into a bias, and" in unmergeable(module, shape=shape)
    model = get_peft_model(base, config_of(module, task_type))
    with pytest.raises((AttributeError, RuntimeError, TypeError, ValueError)):
        model.merge_and_unload()
    _, biased, module, _ = prepared(peft_type, "bert", **options)
    assert unmergeable(module, shape=biased) is None


@pytest.mark.parametrize("peft_type", sorted(CAPABILITIES))
def test_a_quantised_base_takes_the_listed_types_only(peft_type):
    _, shape, module, _ = prepared(peft_type, "llama")
    reason = unfit(module, shape=shape, task_type="CAUSAL_LM", quantized=True)
    assert (reason is None) == CAPABILITIES[peft_type].quantized
    if not CAPABILITIES[peft_type].quantized and CAPABILITIES[peft_type].unsearchable is None:
        assert "gives wrong outputs on a quantised base" in reason


def test_pissa_is_refused_on_a_quantised_base():
    _, shape, module, _ = prepared("LORA", "llama", init_lora_weights="pissa")
    assert "rewrite base weights" in unfit(
        module, shape=shape, task_type="CAUSAL_LM", quantized=True
    )


@pytest.mark.parametrize(
    "peft_type", [kind for kind, can in sorted(CAPABILITIES.items()) if can.combines]
)
def test_what_combines_trains_beside_another_type_on_other_targets(peft_type):
    assert not PEFT_TYPE_TO_TUNER_MAPPING[peft_type].uses_shared_state
    base, shape, module, task_type = prepared(peft_type, "bert")
    keys = tuple(m.name for m in shape.modules if m.kind.endswith("key"))
    other = Module("HRA", {}, keys) if peft_type == "LORA" else Module("LORA", {"r": 2}, keys)
    for name, part in (("first", other), ("second", module)):
        inject_adapter_in_model(config_of(part, task_type), base, name)
    for name, parameter in base.named_parameters():
        parameter.requires_grad = ".first" in name or ".second" in name
    gradients = steps(base, "bert")
    for name in (".first", ".second"):
        assert any(g is not None and g.any() for key, g in gradients.items() if name in key)


def test_the_messages_name_what_would_fit():
    _, shape, module, _ = prepared("LOHA", "gpt2")
    assert "LOHA wraps Linear, got Conv1D transformer.h.0" in unfit(
        module, shape=shape, task_type="CAUSAL_LM"
    )
    _, shape, module, _ = prepared("LORA", "gpt2", init_lora_weights="olora")
    assert "LORA with these fields wraps Embedding, Linear, got Conv1D" in unfit(
        module, shape=shape, task_type="CAUSAL_LM"
    )
    assert "no PEFT type: take one of" in unfit(
        Module("BONE", {}), shape=shape, task_type="CAUSAL_LM"
    )


@pytest.mark.parametrize("peft_type", ["RANDLORA", "SUPERTUNING"])
def test_what_does_not_combine_asks_other_configs_for_its_fields(peft_type):
    base, shape, module, task_type = prepared(peft_type, "bert")
    keys = tuple(m.name for m in shape.modules if m.kind.endswith("key"))
    inject_adapter_in_model(config_of(Module("LORA", {"r": 2}, keys), task_type), base, "first")
    with pytest.raises(AttributeError, match="'LoraConfig' object has no attribute"):
        inject_adapter_in_model(config_of(module, task_type), base, "second")
