"""Sizes by layer in the space file: read, bound to the model, and their mistakes."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from fakes import bert_shape, fake_problem

from autopeft.config import bind, load, parse, widens
from autopeft.config.reading import read
from autopeft.domain.budget.plan import count, count_architectures
from autopeft.domain.errors import SpecError
from autopeft.domain.space import Choice

GOOD = Path(__file__).with_name("good.yaml")
RANKS = "r: {choice: [1, 4, 16]}"
PER_LAYER = {"per_layer": {"choice": [0, 4, 8]}}
PER_GROUP = {"per_group": {"choice": [0, 4, 8]}, "groups": 3}


def document(r, **changes):
    """The good file with this rank, on all layers."""
    found = copy.deepcopy(read(GOOD)[0])
    branch = found["space"]["lora"]
    del branch["layers"], branch["allocation"]
    branch |= changes
    branch["modules"][0]["r"] = r
    return found


def bound(r, depth=6, **changes):
    return bind(parse(document(r, **changes), folder="."), bert_shape(depth)).space["lora"]


def sizes(branch):
    """Paths of the sizes that vary."""
    names = [parameter.name for parameter in branch.parameters if parameter.by_layer]
    return [name.removeprefix("modules[0].r.") for name in names]


def test_a_size_per_layer_is_a_variable_for_every_layer_of_the_model():
    assert sizes(bound(PER_LAYER, depth=4)) == [f"per_layer[{i}]" for i in range(4)]


def test_a_size_per_group_is_a_variable_for_every_group():
    branch = bound(PER_GROUP, depth=4)
    assert sizes(branch) == [f"per_group[{i}]" for i in range(3)]
    assert branch.tree["modules"][0]["r"] == {"per_group": [Choice((0, 4, 8))] * 3}


@pytest.mark.parametrize(
    ("layers", "there"),
    [
        ({"last": 2}, [4, 5]),
        ({"first": {"choice": [1, 3]}}, [0, 1, 2]),
        ({"choice": [[0, 2], {"range": [2, 3]}]}, [0, 2, 3]),
        ({"bits": "shared"}, range(6)),
        ({"bits": "own"}, range(6)),
    ],
)
def test_only_layers_that_the_module_can_live_in_vary(layers, there):
    assert sizes(bound(PER_LAYER, layers=layers)) == [f"per_layer[{i}]" for i in there]


def test_only_groups_with_such_a_layer_vary():
    assert sizes(bound(PER_GROUP | {"groups": 2}, layers={"last": 2})) == ["per_group[1]"]


def test_sizes_by_layer_may_be_an_option_and_a_range():
    r = {"choice": [4, {"per_layer": {"low": 1, "high": 16, "log": True}}]}
    names = [parameter.name for parameter in bound(r, depth=3).parameters]
    assert names[:3] == [
        "modules[0].r",
        "modules[0].r<1>.per_layer[0]",
        "modules[0].r<1>.per_layer[1]",
    ]


@pytest.mark.parametrize("r", [PER_LAYER, PER_GROUP, {"choice": [2, PER_LAYER]}])
def test_a_stored_document_is_the_same_study_again_and_every_point_a_configuration(r):
    spec = parse(document(r), folder=".")
    assert parse(json.loads(json.dumps(spec.document)), folder=".") == spec
    problem = fake_problem(bind(spec, bert_shape()))
    rng, space = np.random.default_rng(0), problem.space.only("lora")
    drawn = [problem.configure(json.loads(json.dumps(space.draw(rng)))) for _ in range(60)]
    patterned = [c for c in drawn for m in c.architecture.modules if "rank_pattern" in m.fields]
    assert len(patterned) > 5
    for configuration in patterned:
        for module in configuration.architecture.modules:
            assert module.fields["lora_alpha"] == 2 * module.size
            assert set(module.sizes.values()) <= {2, 4, 8}


def test_another_option_at_the_end_keeps_earlier_trials():
    old = document(PER_GROUP)
    more = document(PER_GROUP | {"per_group": {"choice": [0, 4, 8, 16]}})
    assert widens(old, more)
    assert not widens(old, document(PER_GROUP | {"groups": 2}))


def test_sets_are_counted_over_all_layers():
    tree = {k: v for k, v in bound(PER_LAYER, depth=3).tree.items() if k != "training"}
    targets = 2
    assert count(tree) == 3**3 * targets
    assert count_architectures(tree) == (3**3 - 1) * targets
    grouped = bound({"choice": [4, PER_GROUP]}, depth=5).tree
    tree = {k: v for k, v in grouped.items() if k != "training"}
    assert count(tree) == (1 + 3**3) * targets
    assert count_architectures(tree) == 3**3 * targets


BROKEN = {
    "both forms": (
        RANKS,
        "r: {per_layer: 4, groups: 2}",
        17,
        "space.lora.modules[0].r",
        "takes {per_layer: ...} or {per_group: ..., groups: k}",
    ),
    "no groups": (
        RANKS,
        "r: {per_group: {choice: [4, 8]}}",
        17,
        "space.lora.modules[0].r",
        "takes {per_layer: ...} or {per_group: ..., groups: k}",
    ),
    "no group": (
        RANKS,
        "r: {per_group: 4, groups: 0}",
        17,
        "space.lora.modules[0].r.groups",
        "takes a whole number from 1, got 0",
    ),
    "more groups than layers": (
        RANKS,
        "r: {per_group: {choice: [4, 8]}, groups: 7}",
        17,
        "space.lora.modules[0].r.groups",
        "the model has 6 layers to share, got 7 groups",
    ),
    "a size below 0": (
        RANKS,
        "r: {per_layer: {choice: [4, -1]}}",
        17,
        "space.lora.modules[0].r.per_layer.choice[1]",
        "r takes a whole number, 0 (absent) or more, got -1",
    ),
    "a size that is too large": (
        RANKS,
        "r: {per_layer: {choice: [4, 512]}}",
        17,
        "space.lora.modules[0].r.per_layer.choice[1]",
        "r stays within the narrowest targeted module (64), got 512",
    ),
    "a size that is no whole number": (
        RANKS,
        "r: {per_layer: {low: 0.5, high: 4}}",
        17,
        "space.lora.modules[0].r.per_layer",
        "r takes a whole number",
    ),
    "an expression": (
        RANKS,
        'r: {per_layer: {expr: "2 * lora_dropout"}}',
        17,
        "space.lora.modules[0].r.per_layer",
        "takes a number, a choice or a range of them, got {'expr': '2 * lora_dropout'}",
    ),
    "a list": (
        RANKS,
        "r: {per_layer: [4, 8]}",
        17,
        "space.lora.modules[0].r.per_layer",
        "takes a number, a choice or a range of them, got [4, 8]",
    ),
    "layers in groups": (
        RANKS,
        "r: {per_group: {per_layer: 4}, groups: 2}",
        17,
        "space.lora.modules[0].r.per_group",
        "takes a number, a choice or a range of them",
    ),
    "another field than the size": (
        'lora_alpha: {expr: "2 * r"}',
        "lora_alpha: {per_layer: {choice: [4, 8]}}",
        18,
        "space.lora.modules[0].lora_alpha",
        "only r, the size, differs between layers, got lora_alpha",
    ),
    "a rank pattern beside": (
        RANKS,
        "rank_pattern: {query: 4}\n        r: {per_layer: {choice: [4, 8]}}",
        18,
        "space.lora.modules[0].r",
        "sizes by layer have no place for rank_pattern",
    ),
    "a type that wraps the model": (
        "peft_type: IA3\n        target_modules: [key, value]",
        "peft_type: PROMPT_TUNING\n        num_virtual_tokens: {per_layer: 4}",
        25,
        "space.ia3.modules[0].num_virtual_tokens",
        "PROMPT_TUNING is no part of a layer: its num_virtual_tokens is one for the whole model",
    ),
    "a type without a size": (
        "target_modules: [key, value]",
        "target_modules: {per_layer: [key]}",
        25,
        "space.ia3.modules[0].target_modules",
        "IA3 has no size that could differ between layers, got target_modules",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_is_said_once_with_its_line(name, tmp_path):
    old, new, line, path, message = BROKEN[name]
    text = GOOD.read_text()
    assert old in text
    file = tmp_path / "space.yaml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        bind(load(file), bert_shape(), source=file)
    (mistake,) = caught.value.mistakes
    assert (mistake.path, mistake.line) == (path, line)
    assert message in mistake.message
