"""Counting by formula, against the models that PEFT builds."""

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import get_peft_model_state_dict
from tiny_models import CONFIGS, make_model

from autopeft.domain.architecture import Architecture, Configuration, Module, canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.capabilities import CAPABILITIES
from autopeft.domain.networks.counting import COUNTED, UNCOUNTED_TYPES, known_metrics
from autopeft.training.inject import build
from autopeft.training.loading.model import load_base
from autopeft.training.loading.shapes import model_shape

_ELSEWHERE = ("t5", "bart", "vit")  # two of them have an encoder and a decoder, one no tokens
MODELS = [(family, "SEQ_CLS") for family in CONFIGS if family not in _ELSEWHERE]
MODELS += [("llama", "CAUSAL_LM"), ("gpt2", "CAUSAL_LM")]


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def host(request, tmp_path_factory):
    """(shape, base) of one tiny model."""
    family, task_type = request.param
    folder = make_model(family, tmp_path_factory.mktemp(family), task_type)
    model = {"model_name_or_path": str(folder), "task_type": task_type}
    labels = ("a", "b", "c") if task_type == "SEQ_CLS" else ()
    shape = model_shape(model, folder=".", num_labels=max(1, len(labels)))
    return shape, load_base(model, folder=".", labels=labels, head=shape.head), task_type


ranks = st.integers(1, 9)
LINEAR_MODULES = st.one_of(
    st.fixed_dictionaries(
        {
            "peft_type": st.just("LORA"),
            "r": ranks,
            "use_dora": st.booleans(),
            "use_rslora": st.booleans(),
            "bias": st.sampled_from(["none", "lora_only"]),
            "init_lora_weights": st.sampled_from([True, "gaussian"]),
        }
    ),
    st.fixed_dictionaries({"peft_type": st.just("IA3")}),
    ranks.map(lambda r: {"peft_type": "ADALORA", "target_r": r, "init_r": r + 3}),
    ranks.map(lambda r: {"peft_type": "LOHA", "r": r}),
    ranks.map(lambda r: {"peft_type": "DELORA", "r": r}),
    ranks.map(lambda r: {"peft_type": "HRA", "r": 2 * r}),
    st.sampled_from([2, 4, 8]).map(lambda r: {"peft_type": "MISS", "r": r}),
)
CONV1D = ("LORA", "ADALORA", "IA3")  # what takes GPT-2's layers


def counted_and_built(host, tree):
    shape, base, task_type = host
    if isinstance(tree, Module):
        configuration = Configuration("b", Architecture((tree,)), {})
    else:
        configuration = canonical(
            tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS
        )
    model = build(base, configuration, task_type=task_type, total_steps=40, seed=0)
    counted = known_metrics(configuration.architecture, shape)
    return counted, model, shape


def check(host, tree, *, stored=True):
    counted, model, shape = counted_and_built(host, tree)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert counted["trainable_params"] == trainable, tree
    if not stored:
        return
    kept = [
        tensor
        for name, tensor in get_peft_model_state_dict(model).items()
        if not any(f".{head}." in name for head in shape.head)
    ]
    assert counted["adapter_params"] == sum(tensor.numel() for tensor in kept), tree
    assert counted["adapter_bytes"] == sum(t.numel() * t.element_size() for t in kept), tree


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(module=LINEAR_MODULES, data=st.data())
def test_what_is_counted_is_what_peft_builds(host, module, data):
    shape = host[0]
    kinds = [m.kind for m in shape.modules if m.layer == 0 and m.linear]
    targets = data.draw(
        st.one_of(st.just("all-linear"), st.lists(st.sampled_from(kinds), min_size=1, unique=True))
    )
    if shape.model_type == "gpt2" and module["peft_type"] not in CONV1D:
        module = {"peft_type": "LORA", "r": 5}
    layers = data.draw(st.lists(st.sampled_from([0, 1, 2]), min_size=1, unique=True))
    tree = {"modules": [{**module, "target_modules": targets}], "layers": layers}
    # An AdaLoRA adapter has its final ranks only once it is trained: test_evaluator looks there.
    check(host, tree, stored=module["peft_type"] != "ADALORA")


@pytest.mark.parametrize("module", [{}, {"prefix_projection": True, "encoder_hidden_size": 20}])
def test_a_prefix_is_counted_with_grouped_keys_and_with_its_projection(host, module):
    if host[0].model_type == "distilbert":  # PEFT does not know its names of these
        module = {"token_dim": 32, "num_attention_heads": 4, **module}
    for tokens in (1, 7):
        prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": tokens, **module}
        check(host, {"modules": [prefix]})


def test_norms_are_counted(host):
    norms = sorted({m.kind for m in host[0].modules if not m.linear})
    check(host, {"modules": [{"peft_type": "LN_TUNING", "target_modules": norms}], "layers": [1]})


def test_a_rank_pattern_counts_where_it_matches(host):
    kind = next(m.kind for m in host[0].modules if m.linear)
    module = {
        "peft_type": "LORA",
        "r": 4,
        "target_modules": "all-linear",
        "rank_pattern": {f"1.{kind}": 7},
    }
    check(host, {"modules": [module]})


def test_full_fine_tuning_and_the_frozen_backbone_are_counted(host):
    check(host, {"full_fine_tuning": True, "modules": []}, stored=False)
    counted, model, shape = counted_and_built(host, {"modules": []})
    assert counted["adapter_params"] == 0
    assert counted["trainable_params"] == shape.head_parameters
    assert shape.head_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_the_adalora_allocation_counts_like_the_module_that_it_becomes(host):
    kind = next(m.kind for m in host[0].modules if m.linear)
    lora = {"peft_type": "LORA", "r": 4, "target_modules": [kind]}
    allocated = {"modules": [lora], "allocation": "adalora"}
    spelt = {
        "modules": [{"peft_type": "ADALORA", "init_r": 6, "target_r": 4, "target_modules": [kind]}]
    }
    check(host, allocated, stored=False)
    assert counted_and_built(host, allocated)[0] == counted_and_built(host, spelt)[0]


@pytest.mark.parametrize("init", ["pissa", "olora", "orthogonal"])
def test_init_variants_count_like_plain_lora(host, init):
    if host[0].model_type == "gpt2":
        pytest.skip("PEFT has no such init for Conv1D")
    module = {"peft_type": "LORA", "r": 4, "target_modules": "all-linear"}
    check(host, {"modules": [{**module, "init_lora_weights": init}], "layers": [0]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bias", "all"),
        ("modules_to_save", ["embeddings"]),
        ("exclude_modules", ["query"]),
        ("layer_replication", [[0, 2]]),
    ],
)
def test_what_the_formulas_do_not_know_is_refused(host, field, value):
    shape, _, _ = host
    module = {"peft_type": "LORA", "r": 4, "target_modules": "all-linear", field: value}
    architecture = canonical(
        {"modules": [module]}, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS
    ).architecture
    with pytest.raises(ValueError, match=f"cannot be counted exactly with {field}: remove it"):
        known_metrics(architecture, shape)


def test_a_prefix_in_some_layers_is_refused(host):
    prefix = Module("PREFIX_TUNING", {"num_virtual_tokens": 2}, (), (2,))
    with pytest.raises(ValueError, match="PREFIX_TUNING lives in all 3 layers, got \\[2\\]"):
        known_metrics(Architecture((prefix,)), host[0])


SETTINGS = {
    "BEFT": [{}],
    "BOFT": [{"boft_block_size": 8}, {"boft_block_size": 0, "boft_block_num": 4}],
    "C3A": [{"block_size": 8}, {"block_size": 4, "block_size_pattern": {"1.*": 16}}],
    "DEFT": [{"r": 3}, {"r": 40}, {"r": 4, "para": True}],
    "DELORA": [{"r": 40}, {"r": 3, "rank_pattern": {".*1.*": 2}}],
    "FOURIERFT": [{"n_frequency": 9}, {"n_frequency": 9, "n_frequency_pattern": {".*1.*": 4}}],
    "FROD": [{}, {"sparse_rate": 0.1}, {"sparse_rate": 0.0}, {"save_projection": False}],
    "GLORA": [
        {"r": 3},
        {"r": 3, "config_A_B": "vector", "config_C": "vector", "config_D_E": "vector"},
        {"r": 3, "config_A_B": "constant", "config_C": "none", "config_D_E": "none"},
        {"r": 3, "config_A_B": "none"},
    ],
    "GRALORA": [{"r": 4}, {"r": 8, "gralora_k": 4, "hybrid_r": 3}],
    "HIRA": [{"r": 3}, {"r": 40, "rank_pattern": {".*1.*": 2}}],
    "LOHA": [{"r": 40}, {"r": 3, "rank_pattern": {".*1.*": 2}}],
    "LOKR": [
        {"r": 2},
        {"r": 40},
        {"r": 1, "decompose_both": True},
        {"r": 3, "decompose_factor": 5},
        {"r": 3, "decompose_factor": 4, "rank_pattern": {".*1.*": 1}},
    ],
    "LORA": [
        {"r": 5, "init_lora_weights": "mica"},
        {"r": 5, "kasa_config": {}},
        {"r": 40, "init_lora_weights": "pissa"},
        {"r": 40, "init_lora_weights": "olora"},
        {"r": 3, "lora_bias": True},
        {"r": 3, "alora_invocation_tokens": [1, 2]},
        {
            "r": 4,
            "use_bdlora": {"target_modules_bd_a": [".0."], "target_modules_bd_b": [".1.", ".2."]},
        },
    ],
    "OFT": [
        {"oft_block_size": 8},
        {"oft_block_size": 7},
        {"oft_block_size": 100},
        {"r": 4, "oft_block_size": 0},
        {"r": 5, "oft_block_size": 0},
        {"oft_block_size": 16, "block_share": True},
    ],
    "OSF": [{}, {"effective_rank": 5}, {"effective_rank": 0.25, "rank_pattern": {"1": 3}}],
    "PEANUT": [{"r": 3}, {"r": 4, "depth": 2}],
    "PSOFT": [{"r": 4}, {"r": 3, "psoft_orth": False, "psoft_mag_a": False}],
    "PVERA": [{"r": 3}, {"r": 40, "save_projection": False}],
    "RANDLORA": [{"r": 3}, {"r": 40}, {"r": 8, "save_projection": False}, {"r": 5, "sparse": True}],
    "ROAD": [{"variant": f"road_{n}", "group_size": 8} for n in (1, 2, 4)],
    "SHIRA": [{"r": 2}, {"r": 5}],
    "SUPERTUNING": [{"sparsity": 0.9}, {"r": 3}, {"save_precomputed_indices": False}],
    "TINYLORA": [
        {"u": 5},
        {"u": 3, "r": 40},
        {"weight_tying": 0.6},
        {"weight_tying": 1.0, "save_projection": False},
    ],
    "UNILORA": [{}, {"theta_d_length": 31, "r": 2, "save_indices": True}],
    "VBLORA": [
        {"r": 3, "vector_length": 8, "num_vectors": 10},
        {"vector_length": 16, "num_vectors": 300, "save_only_topk_weights": True, "topk": 3},
    ],
    "VERA": [{"r": 3}, {"r": 40, "save_projection": False}],
    "WAVEFT": [
        {"n_frequency": 9},
        {"n_frequency": 30, "proportional_parameters": True},
        {"n_frequency": 9, "n_frequency_pattern": {".*1.*": 4}},
    ],
}
PROMPTS = {
    "ADAPTION_PROMPT": [{"adapter_len": 3, "adapter_layers": n} for n in (1, 3)],
    "CARTRIDGE": [{"num_virtual_tokens": 5}, {"num_virtual_tokens": 4, "num_frozen_tokens": 0}],
    "CPT": [{"cpt_token_ids": [1, 2, 3]}, {"cpt_token_ids": [1]}],
    "PROMPT_TUNING": [{"num_virtual_tokens": 5}, {"num_virtual_tokens": 1}],
    "P_TUNING": [
        {"num_virtual_tokens": 5},
        {"num_virtual_tokens": 2, "encoder_hidden_size": 20},
        {
            "num_virtual_tokens": 2,
            "encoder_reparameterization_type": "LSTM",
            "encoder_hidden_size": 12,
            "encoder_num_layers": 3,
        },
    ],
}
SETTING_CASES = [(kind, fields) for kind, settings in SETTINGS.items() for fields in settings]
PROMPT_CASES = [(kind, fields) for kind, settings in PROMPTS.items() for fields in settings]


def linear(shape, layers):
    return tuple(m.name for m in shape.modules if m.linear and m.layer in layers)


@pytest.mark.parametrize("layers", [(0, 1, 2), (1,)], ids=str)
@pytest.mark.parametrize(("peft_type", "fields"), SETTING_CASES, ids=str)
def test_every_type_counts_what_peft_builds_and_stores(host, peft_type, fields, layers):
    shape = host[0]
    if shape.model_type == "gpt2" and (
        "Conv1D" not in CAPABILITIES[peft_type].wraps or {"kasa_config", "use_bdlora"} & set(fields)
    ):
        pytest.skip("PEFT has no such layer for Conv1D")
    if shape.model_type == "gpt2" and fields.get("init_lora_weights") in ("mica", "pissa", "olora"):
        pytest.skip("PEFT has no such init for Conv1D")
    check(host, Module(peft_type, fields, linear(shape, layers), layers))


@pytest.mark.parametrize(("peft_type", "fields"), PROMPT_CASES, ids=str)
def test_what_wraps_no_linear_map_is_counted(host, peft_type, fields):
    shape, _, task_type = host
    if peft_type == "ADAPTION_PROMPT" and shape.model_type not in ("llama", "gpt2"):
        pytest.skip("PEFT knows no such attention")
    heads = peft_type not in ("ADAPTION_PROMPT", "CARTRIDGE", "CPT")
    if task_type != "CAUSAL_LM" and not heads:
        pytest.skip("for language models only")
    if shape.model_type == "distilbert" and "num_virtual_tokens" in fields:
        fields = {"token_dim": 32, "num_attention_heads": 4, "num_layers": 3, **fields}
    check(host, Module(peft_type, fields, (), tuple(range(shape.layers))))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """(shape, base) of a tiny llama in bfloat16."""
    folder = make_model("llama", tmp_path_factory.mktemp("half"), "CAUSAL_LM")
    model = {"model_name_or_path": str(folder), "task_type": "CAUSAL_LM", "dtype": "bfloat16"}
    shape = model_shape(model, folder=".", num_labels=1)
    return shape, load_base(model, folder=".", labels=(), head=shape.head), "CAUSAL_LM"


@pytest.mark.parametrize("peft_type", [*SETTINGS, "ADAPTION_PROMPT", "LN_TUNING", "PROMPT_TUNING"])
def test_bytes_are_exact_on_a_half_precision_model(half, peft_type):
    shape = half[0]
    fields = {**SETTINGS, **PROMPTS, "LN_TUNING": [{}]}[peft_type][0]
    targets = linear(shape, (0, 1, 2)) if peft_type in SETTINGS else ()
    if peft_type == "LN_TUNING":
        targets = tuple(m.name for m in shape.modules if not m.linear)
    check(half, Module(peft_type, fields, targets, (0, 1, 2)))


@pytest.mark.parametrize("peft_type", sorted(UNCOUNTED_TYPES))
def test_a_type_without_a_formula_is_refused_with_its_reason(host, peft_type):
    reason = re.escape(UNCOUNTED_TYPES[peft_type])
    with pytest.raises(ValueError, match=f"{peft_type} cannot be counted: {reason}"):
        known_metrics(Architecture((Module(peft_type, {}),)), host[0])


def test_every_type_of_peft_is_counted_or_refused_with_a_reason():
    assert set(CAPABILITIES) <= COUNTED | set(UNCOUNTED_TYPES)
    assert not COUNTED & set(UNCOUNTED_TYPES)


def test_an_init_that_quantises_the_base_is_refused(host):
    module = Module("LORA", {"init_lora_weights": "loftq"})
    with pytest.raises(ValueError, match="'loftq' here: it needs bitsandbytes and a CUDA device"):
        known_metrics(Architecture((module,)), host[0])


def test_butterfly_factors_are_refused_since_peft_may_drop_them(host):
    module = Module("BOFT", {"boft_n_butterfly_factor": 2})
    with pytest.raises(ValueError, match="BOFT cannot be counted exactly with boft_n_butterfly"):
        known_metrics(Architecture((module,)), host[0])


@pytest.mark.parametrize("peft_type", ["CARTRIDGE", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"])
def test_virtual_tokens_are_not_counted_on_an_encoder_with_a_decoder(host, peft_type):
    shape = host[0]
    modules = [replace(m, name=f"encoder.{m.name}") for m in shape.modules]
    modules += [replace(m, name=f"decoder.{m.name}") for m in shape.modules]
    module = Module(peft_type, {"num_virtual_tokens": 2}, (), tuple(range(shape.layers)))
    with pytest.raises(ValueError, match="which has an encoder and a decoder"):
        known_metrics(Architecture((module,)), replace(shape, modules=tuple(modules)))
