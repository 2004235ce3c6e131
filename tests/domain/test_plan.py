"""What a space holds, counted by formula and by writing it out."""

import itertools

import pytest

from autopeft.domain.budget.plan import count, count_architectures
from autopeft.domain.space import Bits, Choice, Range, Subset

SIZES = Choice((0, 1, 3))


def module(peft_type, field, size=SIZES, **fields):
    return {"peft_type": peft_type, field: size, **fields}


SERIAL = module("SERIAL_ADAPTER", "bottleneck_size")
PREFIX = module("PREFIX_TUNING", "num_virtual_tokens")
LORA = module("LORA", "r", Choice((0, 8)), lora_dropout=Choice((0.0, 0.1)))


@pytest.mark.parametrize(
    ("tree", "sets", "architectures"),
    [
        ({"modules": [SERIAL, PREFIX]}, 9, 8),
        ({"modules": [SERIAL, PREFIX], "layers": {"bits": Bits(3)}}, 72, 56),
        ({"modules": [LORA]}, 4, 2),
        ({"modules": [LORA, SERIAL]}, 12, 10),
        ({"modules": [{**SERIAL, "layers": {"bits": Bits(2)}}, PREFIX]}, 36, 36 - 6),
        ({"modules": [module("LORA", "r", Range(0, 4))]}, 5, 4),
        ({"modules": [module("LORA", "lora_dropout", Range(0.0, 0.3, step=0.1))]}, 4, 4),
        ({"modules": [module("IA3", "target_modules", Subset(("q", "v"), 1))]}, 3, 3),
        ({"full_fine_tuning": True}, 1, 1),
    ],
)
def test_sets_without_a_module_are_no_architectures(tree, sets, architectures):
    assert count(tree) == sets
    assert count_architectures(tree) == architectures


def test_the_formula_agrees_with_writing_every_set_out():
    modules = [{**SERIAL, "layers": {"bits": Bits(2)}}, {**LORA, "layers": {"bits": Bits(2)}}]
    bits = list(itertools.product((0, 1), repeat=2))
    sets = itertools.product((0, 1, 3), bits, (0, 8), (0.0, 0.1), bits)
    held = [
        (size, one, rank, dropout, two)
        for size, one, rank, dropout, two in sets
        if (size and any(one)) or (rank and any(two))
    ]
    assert count_architectures({"modules": modules}) == len(held)
    assert count({"modules": modules}) == 3 * 4 * 2 * 2 * 4
