"""Sizes by layer: the same network is the same architecture, and it is counted as it is built."""

import pytest
from fakes import bert_shape
from peft import get_peft_model_state_dict
from tiny_models import make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.expression import Expr
from autopeft.domain.methods.layer_sizes import group_of, size_field
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.capabilities import CAPABILITIES, MODEL, SEARCHABLE
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.networks.describe import describe, flat_params
from autopeft.domain.networks.peft_config import peft_arguments
from autopeft.domain.rules.fit import refuse_unfit
from autopeft.domain.space import Branch, Choice, Space
from autopeft.training.inject import build
from autopeft.training.loading.model import load_base
from autopeft.training.loading.shapes import model_shape

LORA = {"peft_type": "LORA", "target_modules": ["query", "value"]}
SERIAL = {"peft_type": "SERIAL_ADAPTER"}


def configured(*modules, shape=None, **parts):
    tree = Space((Branch("b", {"modules": list(modules), **parts}),)).realise({"branch": "b"})
    shape = shape or bert_shape(3)
    return canonical(tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS)


def built(*modules, **parts):
    return configured(*modules, **parts).architecture


def per_layer(*sizes):
    return {"per_layer": list(sizes)}


def scalings(module):
    """target -> alpha / r, as PEFT reads the patterns."""
    fields = {**PEFT_DEFAULTS["LORA"], **module.fields}
    ranks, alphas = fields["rank_pattern"], fields["alpha_pattern"]
    return {
        name: alphas.get(name, fields["lora_alpha"]) / ranks.get(name, fields["r"])
        for name in module.targets
    }


@pytest.mark.parametrize("alpha", [{}, {"lora_alpha": 16}, {"lora_alpha": Expr("2 * r")}])
def test_equal_sizes_are_the_plain_size(alpha):
    assert built(LORA | alpha | {"r": per_layer(4, 4, 4)}) == built(LORA | alpha | {"r": 4})
    assert built(SERIAL | {"bottleneck_size": per_layer(5, 5, 5)}) == built(
        SERIAL | {"bottleneck_size": 5}
    )


@pytest.mark.parametrize("alpha", [{}, {"lora_alpha": 16}, {"lora_alpha": Expr("2 * r")}])
def test_a_layer_of_size_0_is_left_out(alpha):
    assert built(LORA | alpha | {"r": per_layer(0, 4, 4)}) == built(
        LORA | alpha | {"r": 4, "layers": [1, 2]}
    )
    assert built(LORA | {"r": per_layer(0, 0, 0)}).frozen
    assert built(SERIAL | {"bottleneck_size": per_layer(0, 3, 0)}, layers=[0, 2]).frozen


def test_a_lora_of_several_ranks_is_one_module_whose_scaling_is_the_same_in_every_layer():
    sizes = per_layer(8, 2, 0)
    (module,) = built(LORA | {"r": sizes, "lora_alpha": Expr("2 * r")}).modules
    assert module.fields["r"] == 2
    assert set(module.fields["rank_pattern"].values()) == {8}
    assert set(scalings(module).values()) == {2}
    assert {name.split(".")[3] for name in module.targets} == {"0", "1"}


def test_a_literal_alpha_goes_with_the_largest_size():
    (module,) = built(LORA | {"r": per_layer(8, 2, 4), "lora_alpha": 12}).modules
    assert set(scalings(module).values()) == {1.5}
    (default,) = built(LORA | {"r": per_layer(4, 2, 4)}).modules
    assert set(scalings(default).values()) == {8 / 4}


def test_rslora_scales_every_layer_alike():
    (module,) = built(LORA | {"r": per_layer(8, 2, 2), "lora_alpha": 4, "use_rslora": True}).modules
    ranks, alphas = module.fields["rank_pattern"], module.fields["alpha_pattern"]
    found = {alphas[name] / ranks[name] ** 0.5 for name in ranks}
    found.add(module.fields["lora_alpha"] / module.fields["r"] ** 0.5)
    assert [pytest.approx(4 / 8**0.5)] * len(found) == list(found)


def test_the_spelling_of_the_same_ranks_and_scaling_does_not_matter():
    literal = built(LORA | {"r": per_layer(0, 4, 8), "lora_alpha": 16})
    follows = built(LORA | {"r": per_layer(0, 4, 8), "lora_alpha": Expr("2 * r")})
    placed = built(LORA | {"r": per_layer(4, 4, 8), "lora_alpha": 16.0}, layers=[1, 2])
    assert literal == follows == placed
    assert literal != built(LORA | {"r": per_layer(0, 8, 4), "lora_alpha": 16})


@pytest.mark.parametrize(
    ("layers", "groups", "expected"),
    [(3, 3, [0, 1, 2]), (6, 3, [0, 0, 1, 1, 2, 2]), (7, 3, [0, 0, 0, 1, 1, 2, 2]), (4, 1, [0] * 4)],
)
def test_groups_are_consecutive_and_as_equal_as_can_be(layers, groups, expected):
    assert [group_of(layer, groups, layers) for layer in range(layers)] == expected


def test_a_size_per_group_is_the_size_of_its_layers():
    shape = bert_shape(5)
    grouped = built(LORA | {"r": {"per_group": [4, 8]}}, shape=shape)
    assert grouped == built(LORA | {"r": per_layer(4, 4, 4, 8, 8)}, shape=shape)


def test_a_tuner_without_rank_pattern_becomes_a_module_for_each_size():
    split = built(SERIAL | {"bottleneck_size": per_layer(4, 0, 4), "scaling": 2.0})
    (module,) = split.modules
    assert module.layers == (0, 2)
    split = built(SERIAL | {"bottleneck_size": per_layer(4, 2, 4)})
    assert split == built(
        SERIAL | {"bottleneck_size": 4, "layers": [0, 2]},
        SERIAL | {"bottleneck_size": 2, "layers": [1]},
    )


def test_a_prefix_of_several_lengths_is_one_for_each_layer():
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": per_layer(4, 0, 2)}
    modules = built(prefix).modules
    assert {(m.peft_type, m.size, m.layers) for m in modules} == {
        ("LAYER_PREFIX", 4, (0,)),
        ("LAYER_PREFIX", 2, (2,)),
    }


def test_types_that_share_no_model_are_refused_with_unequal_sizes_alone():
    vera = {"peft_type": "VERA", "target_modules": "query"}
    shape = bert_shape(3)
    refuse_unfit(built(vera | {"r": per_layer(0, 4, 4)}), shape=shape, task_type="SEQ_CLS")
    with pytest.raises(ValueError, match="VERA shares a model with no other module, got 2"):
        refuse_unfit(built(vera | {"r": per_layer(2, 4, 4)}), shape=shape, task_type="SEQ_CLS")


def test_strategies_that_change_ranks_refuse_several():
    for strategy in ("adalora", "increlora", "spt", "random", "eva"):
        uneven = built(LORA | {"r": per_layer(2, 4, 4)}, allocation=strategy)
        with pytest.raises(
            ValueError, match=rf"allocation {strategy} has no place for .*rank_patt"
        ):
            peft_arguments(uneven, task_type="SEQ_CLS", total_steps=100)
        even = built(LORA | {"r": per_layer(0, 4, 4)}, allocation=strategy)
        assert even == built(LORA | {"r": 4, "layers": [1, 2]}, allocation=strategy)


def test_the_same_layers_are_left_where_an_expression_names_the_size():
    follows = SERIAL | {"bottleneck_size": Expr("3 * r")}
    together = built(LORA | {"r": per_layer(0, 4, 2)}, follows)
    assert together == built(LORA | {"r": per_layer(0, 4, 2)}, SERIAL | {"bottleneck_size": 12})


def test_sizes_by_layer_read_short():
    configuration = configured(LORA | {"r": per_layer(0, 4, 8)})
    assert describe(configuration) == "lora r4-8 q,v L1-2"
    row = flat_params(configuration)
    assert row["lora.r_by_layer"] == "4 L1; 8 L2"
    assert not {"lora.rank_pattern", "lora.alpha_pattern"} & set(row)
    split = configured(SERIAL | {"bottleneck_size": per_layer(0, 4, 8)})
    assert set(describe(split).split(" + ")) == {
        "serial-adapter 4 down L1",
        "serial-adapter 8 down L2",
    }


BLOCKS = {"C3A": (8, 16, 0), "MISS": (4, 8, 0), "SHIRA": (2, 3, 0), "GRALORA": (2, 4, 0)}
SMALL = {"GRALORA": {"gralora_k": 2}, "LORA": {"lora_alpha": 3}, "LOKR": {"alpha": 2}}
TYPES = sorted(
    kind
    for kind in SEARCHABLE
    if CAPABILITIES[kind].combines
    and MODEL not in CAPABILITIES[kind].wraps
    and size_field(kind) in PEFT_DEFAULTS[kind]
)


@pytest.fixture(scope="module", params=["bert", "llama"])
def host(request, tmp_path_factory):
    """(shape, base) of a tiny model of three layers."""
    folder = make_model(request.param, tmp_path_factory.mktemp(request.param), "SEQ_CLS")
    model = {"model_name_or_path": str(folder), "task_type": "SEQ_CLS"}
    shape = model_shape(model, folder=".", num_labels=2)
    return shape, load_base(model, folder=".", labels=("a", "b"), head=shape.head)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_counts_what_is_built_and_stored(host, kind):
    shape, base = host
    targets = "attention" if kind == "LAYER_PREFIX" else ["attention.query", "feed_forward.up"]
    module = {"peft_type": kind, "target_modules": targets, **SMALL.get(kind, {})}
    module[size_field(kind)] = per_layer(*BLOCKS.get(kind, (2, 6, 0)))
    configuration = configured(module, shape=shape)
    refuse_unfit(configuration.architecture, shape=shape, task_type="SEQ_CLS")
    model = build(base, configuration, task_type="SEQ_CLS", total_steps=9, seed=0)
    known = known_metrics(configuration.architecture, shape)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert known["trainable_params"] == trained
    stored = [
        tensor
        for name in model.peft_config
        for key, tensor in get_peft_model_state_dict(model, adapter_name=name).items()
        if not any(f".{head}." in key for head in shape.head)
    ]
    assert known["adapter_params"] == sum(tensor.numel() for tensor in stored)


@pytest.mark.parametrize("kind", ["LORA", "LOHA", "LOKR"])
def test_peft_builds_the_ranks_and_one_scaling(host, kind):
    shape, base = host
    alpha = "lora_alpha" if kind == "LORA" else "alpha"
    module = {"peft_type": kind, "target_modules": ["attention.query"], "r": per_layer(2, 6, 4)}
    configuration = configured({**module, alpha: Expr("3 * r")}, shape=shape)
    model = build(base, configuration, task_type="SEQ_CLS", total_steps=9, seed=0)
    layers = [m for m in model.modules() if isinstance(getattr(m, "scaling", None), dict)]
    assert [layer.r["default"] for layer in layers] == [2, 6, 4]
    assert [layer.scaling["default"] for layer in layers] == [3, 3, 3]


def test_a_choice_between_one_size_and_sizes_by_layer_takes_either():
    r = Choice((4, per_layer(Choice((0, 4)), 4, 4)))
    space = Space((Branch("b", {"modules": [LORA | {"r": r}]}),))
    (plain, deep) = [p.name for p in space["b"].parameters]
    assert deep == "modules[0].r<1>.per_layer[0]"
    one = canonical(
        space.realise({"branch": "b", plain: 1, deep: 1}),
        branch="b",
        shape=bert_shape(3),
        training={},
        defaults=PEFT_DEFAULTS,
    )
    assert one.architecture == built(LORA | {"r": 4})
