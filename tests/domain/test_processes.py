"""How the rows of a step are shared out by processes."""

import pytest
from fakes import bert_shape
from hypothesis import given
from hypothesis import strategies as st

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.recipes.processes import shares, spread_out
from autopeft.domain.recipes.recipe import halved

SIZES = st.integers(1, 12)


def configuration(**recipe):
    module = {"peft_type": "LORA", "r": 4, "target_modules": ["query"]}
    shape = bert_shape()
    return canonical(
        {"modules": [module]}, branch="b", shape=shape, training=recipe, defaults=PEFT_DEFAULTS
    )


@pytest.mark.parametrize(
    ("rows", "accumulated", "processes", "each"),
    [
        (8, 4, 2, (8, 2)),  # accumulation gives first
        (32, 1, 2, (16, 1)),
        (8, 2, 4, (4, 1)),
        (6, 3, 2, (3, 3)),
        (8, 4, 1, (8, 4)),
    ],
)
def test_accumulation_gives_first_and_then_the_rows(rows, accumulated, processes, each):
    assert shares(rows, accumulated, processes) == each


@given(SIZES, SIZES, SIZES)
def test_a_step_sees_as_many_rows_on_any_number_of_processes(rows, accumulated, processes):
    try:
        of_each = shares(rows, accumulated, processes)
    except ValueError:
        assert (rows * accumulated) % processes
    else:
        assert processes * of_each[0] * of_each[1] == rows * accumulated


def test_what_cannot_be_shared_out_says_what_to_take():
    with pytest.raises(ValueError, match=r"the 6 rows of a step .* 3 x 2\) .* by 4 processes: "):
        spread_out(configuration(per_device_train_batch_size=3, gradient_accumulation_steps=2), 4)


def test_rows_that_would_be_dropped_besides_are_refused():
    kept = configuration(per_device_train_batch_size=8, dataloader_drop_last=True)
    assert spread_out(kept, 2).recipe["per_device_train_batch_size"] == 4
    more = configuration(
        per_device_train_batch_size=8, gradient_accumulation_steps=2, dataloader_drop_last=True
    )
    with pytest.raises(ValueError, match="drops up to 15 rows of an epoch on 2 processes and 7"):
        spread_out(more, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("auto_find_batch_size", True), ("fsdp", "full_shard"), ("deepspeed", "zero3.json")],
)
def test_what_is_for_one_process_is_refused_on_several(field, value):
    given = configuration(**{field: value})
    assert spread_out(given, 1) == given
    with pytest.raises(ValueError, match=rf"^{field} .*, got 2 processes: leave it out"):
        spread_out(given, 2)


def test_half_the_micro_batch_of_several_processes_is_half_of_each():
    """Where memory ran out, the retry has to need less of it."""
    whole = spread_out(configuration(per_device_train_batch_size=8), 2)
    assert shares(*_batch(whole), 2) == (4, 1)
    assert shares(*_batch(halved(whole)), 2) == (2, 2)


def _batch(configuration):
    recipe = configuration.recipe
    return recipe["per_device_train_batch_size"], recipe.get("gradient_accumulation_steps", 1)
