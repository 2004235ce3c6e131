"""Configurations in a few words."""

from collections.abc import Mapping
from typing import Any

import pytest

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.networks.describe import describe, flat_params

BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention-out": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}


def module(
    peft_type: str, layers: tuple[int, ...], kinds: tuple[str, ...] = (), **fields: Any
) -> Module:
    targets = tuple(f"bert.encoder.layer.{n}.{BERT[kind]}" for n in layers for kind in kinds)
    return Module(peft_type, fields, targets, layers)


def configuration(*modules: Module, **parts: Any) -> Configuration:
    recipe: Mapping[str, Any] = parts.pop("recipe", {"learning_rate": 4.7e-4})
    return Configuration("b", Architecture(modules, **parts), recipe)


def test_a_lora_reads_as_method_rank_targets_layers_and_learning_rate() -> None:
    lora = module("LORA", tuple(range(3, 12)), ("query", "value"), r=16, lora_alpha=32)
    assert describe(configuration(lora)) == "lora r16 q,v L3-11 lr 4.7e-4"


def test_a_rank_at_pefts_default_still_shows() -> None:
    lora = module("LORA", (0,), ("query",))
    assert describe(configuration(lora)) == "lora r8 q L0 lr 4.7e-4"
    assert flat_params(configuration(lora))["lora.r"] == 8


def test_every_linear_of_a_layer_is_all_linear() -> None:
    lora = module("LORA", (0, 1), tuple(BERT), r=4)
    assert describe(configuration(lora)) == "lora r4 all-linear L0-1 lr 4.7e-4"


def test_the_two_output_layers_of_bert_have_different_names() -> None:
    lora = module("LORA", (0,), ("attention-out", "down"), r=4)
    assert describe(configuration(lora)) == "lora r4 o,down L0 lr 4.7e-4"


@pytest.mark.parametrize(
    ("layers", "text"),
    [((0,), "L0"), ((0, 1, 2, 5), "L0-2,5"), ((4, 2, 0), "L0,2,4"), ((0, 1, 3, 4), "L0-1,3-4")],
)
def test_layers_are_compressed_to_ranges(layers: tuple[int, ...], text: str) -> None:
    assert text in describe(configuration(module("LORA", layers, ("query",), r=1))).split()


def test_variants_and_allocation_show() -> None:
    lora = module("LORA", (0,), ("query",), r=4, use_dora=True, init_lora_weights="pissa")
    named = configuration(lora, allocation=("ist", {"share": 0.5}))
    assert describe(named) == "lora r4 dora pissa q L0 ist lr 4.7e-4"


def test_modules_used_together_share_their_layers_once() -> None:
    serial = module("SERIAL_ADAPTER", (0, 1), bottleneck_size=12)
    prefix = module("PREFIX_TUNING", (0, 1), num_virtual_tokens=6)
    expected = "serial-adapter 12 + prefix-tuning 6 L0-1 lr 4.7e-4"
    assert describe(configuration(serial, prefix)) == expected


def test_modules_of_different_layers_say_their_own() -> None:
    lora = module("LORA", (0, 1), ("query",), r=2)
    prefix = module("PREFIX_TUNING", (3,), num_virtual_tokens=6)
    assert describe(configuration(lora, prefix)) == (
        "lora r2 q L0-1 + prefix-tuning 6 L3 lr 4.7e-4"
    )


def test_frozen_and_full_have_names() -> None:
    assert describe(configuration(recipe={})) == "frozen"
    full = configuration(full_fine_tuning=True, recipe={"learning_rate": 1e-5})
    assert describe(full) == "full lr 1e-5"


def test_flat_params_are_scalars_under_readable_names() -> None:
    lora = module("LORA", (0, 1), ("query",), r=2, use_dora=True, rank_pattern={"q": 1})
    named = configuration(
        lora,
        allocation=("adalora", {"target_r": 4}),
        recipe={"learning_rate": 1e-3, "bf16": False, "lr_scheduler_kwargs": {"a": None}},
    )
    assert flat_params(named) == {
        "branch": "b",
        "method": "lora",
        "allocation": "adalora",
        "allocation.target_r": 4,
        "lora.r": 2,
        "lora.use_dora": "true",
        "lora.rank_pattern": '{"q": 1}',
        "lora.targets": "q",
        "lora.layers": "0-1",
        "lora.layer_count": 2,
        "learning_rate": 1e-3,
        "bf16": "false",
        "lr_scheduler_kwargs": '{"a": null}',
    }


def test_two_modules_of_one_method_keep_apart() -> None:
    row = flat_params(
        configuration(module("LORA", (0,), ("query",), r=2), module("LORA", (1,), ("query",), r=4))
    )
    assert (row["lora.r"], row["lora.2.r"]) == (2, 4)
