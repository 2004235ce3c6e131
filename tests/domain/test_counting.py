"""Counting by formula, against the models that PEFT builds."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import get_peft_model_state_dict
from tiny_models import CONFIGS, make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.counting import known_metrics
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.training.inject import build
from autopeft.training.model import load_base, model_shape

MODELS = [(family, "SEQ_CLS") for family in CONFIGS] + [("llama", "CAUSAL_LM")]


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
    configuration = canonical(tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS)
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
    shape = host[0]
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2}
    architecture = canonical(
        {"modules": [prefix], "layers": {"last": 1}},
        branch="b",
        shape=shape,
        training={},
        defaults=PEFT_DEFAULTS,
    ).architecture
    with pytest.raises(ValueError, match="PREFIX_TUNING lives in all 3 layers"):
        known_metrics(architecture, shape)
