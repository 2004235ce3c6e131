"""Every shipped space file loads, fits a model of its kind, and each of its points is a trial."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from domain.matrix import HEADS, shape_of
from fakes import bert_shape, linear
from tiny_models import AUTO_CLASSES, CONFIGS

from autopeft.config import bind, load
from autopeft.domain.architecture import canonical
from autopeft.domain.budget.plan import count, count_architectures
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.tasks import KINDS

FILES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))


def llama_shape(layers: int = 4, width: int = 128) -> ModelShape:
    kinds = (
        *((f"self_attn.{name}_proj", width, width) for name in "qkvo"),
        ("mlp.gate_proj", width, 4 * width),
        ("mlp.up_proj", width, 4 * width),
        ("mlp.down_proj", 4 * width, width),
    )
    modules = tuple(
        linear("model.layers", layer, kind, inputs, outputs, bias=False)
        for layer in range(layers)
        for kind, inputs, outputs in kinds
    )
    total = sum(module.parameters for module in modules)
    return ModelShape("llama", layers, modules, width, (), 0, total)


SHAPES = {
    "CAUSAL_LM": lambda: llama_shape(layers=32),
    "SEQ_2_SEQ_LM": lambda: tiny_shape("t5", d_model=64, d_kv=16, d_ff=64, num_layers=4),
    "IMAGE_CLS": lambda: tiny_shape(
        "vit", hidden_size=64, num_hidden_layers=12, intermediate_size=256
    ),
}


def tiny_shape(family: str, **changes: int) -> ModelShape:
    """What training finds of a model built from its config."""
    config = copy.deepcopy(CONFIGS[family])
    config.update(changes)
    with torch.device("meta"):
        model = AUTO_CLASSES[{"t5": "SEQ_2_SEQ_LM", "vit": "IMAGE_CLS"}[family]].from_config(config)
    return shape_of(model, head=HEADS.get(family, ()))


def test_every_kind_of_task_has_a_file():
    shown = {load(path).task.name for path in FILES}
    assert shown == set(KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shipped_file_fits_a_model_of_its_kind(path):
    spec = load(path)
    shape = SHAPES.get(spec.model["task_type"], lambda: bert_shape(layers=12, width=128))()
    spec = bind(spec, shape, source=path)
    assert spec.space.searched
    assert spec.space.baselines
    rng = np.random.default_rng(0)
    for branch in spec.space.branches:
        space = spec.space.only(branch.name)
        assert any(p.name == "training.learning_rate" for p in branch.parameters), branch.name
        for _ in range(20):
            configuration = canonical(
                space.realise(space.draw(rng)),
                branch=branch.name,
                shape=shape,
                training=spec.training,
                defaults=PEFT_DEFAULTS,
            )
            assert known_metrics(configuration.architecture, shape)["adapter_params"] > 0


@pytest.mark.parametrize(
    ("name", "layers", "sets"),
    [("autopeft_bert", 12, 11**3 * 2**12), ("autopeft_bert_large", 24, 11**3 * 2**24)],
)
def test_the_space_of_autopeft_has_the_size_that_its_paper_gives(name, layers, sets):
    path = next(path for path in FILES if path.stem == name)
    spec = bind(load(path), bert_shape(layers=layers, width=128), source=path)
    (branch,) = spec.space.searched
    tree = {key: value for key, value in branch.tree.items() if key != "training"}
    assert count(tree) == sets
    assert count_architectures(tree) == (11**3 - 1) * (2**layers - 1)
    if layers == 12:
        assert (count(tree), count_architectures(tree)) == (5_451_776, 5_446_350)


def test_one_method_with_one_range_takes_eight_lines():
    (path,) = [path for path in FILES if path.name == "minimal.yaml"]
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == 8
    assert [branch.name for branch in load(path).space.branches] == ["main", "lora_all_linear"]


def test_every_file_says_what_it_is_for():
    assert len(FILES) >= 4
    assert all(path.read_text().startswith("# ") for path in FILES)
