"""Estimates of cost: the formulas by hand, and what has to grow or shrink with what."""

from dataclasses import replace

import pytest
from fakes import bert_shape

from autopeft.domain.architecture import canonical
from autopeft.domain.estimates import ESTIMATED, Corpus, Setting, estimates
from autopeft.domain.estimates.backward import reached
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import Embeddings
from autopeft.domain.networks.counting import known_metrics
from autopeft.training.inject import total_steps

SHAPE = replace(bert_shape(), heads=4)
CORPUS = Corpus(1000, (32,))
ALL = {"peft_type": "LORA", "r": 4, "target_modules": "all-linear"}
QUERY = {"peft_type": "LORA", "r": 4, "target_modules": ["query"]}
GIB = 2**30
COSTS = ESTIMATED - {"tokens_per_second"}  # of which more is worse


def configuration(*modules, shape=SHAPE, full=False, layers="all", **recipe):
    tree = {"modules": list(modules), "layers": layers, "full_fine_tuning": full}
    recipe = {"per_device_train_batch_size": 8, "max_steps": 10, **recipe}
    return canonical(tree, branch="b", shape=shape, training=recipe, defaults=PEFT_DEFAULTS)


def cost(*modules, shape=SHAPE, corpus=CORPUS, setting=Setting(), **rest):
    found = configuration(*modules, shape=shape, **rest)
    return estimates(found, shape=shape, corpus=corpus, setting=setting)


def test_the_longest_of_a_batch_is_expected_from_the_lengths():
    corpus = Corpus(10, (1, 2))
    assert corpus.longest(1) == 1.5
    assert corpus.longest(2) == pytest.approx(1 / 4 + 2 * 3 / 4)
    assert Corpus(10, (3, 9, 4)).longest(10_000) == pytest.approx(9)


def test_all_estimates_are_there_and_positive():
    found = cost(ALL)
    assert set(found) == ESTIMATED | {"steps", "epochs"}
    assert all(value > 0 for value in found.values())


@pytest.mark.parametrize(
    ("rows", "recipe", "steps", "epochs"),
    [
        (36, {"per_device_train_batch_size": 32, "num_train_epochs": 20}, 40, 20),
        (36, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}, 9, 3),
        (36, {"per_device_train_batch_size": 144, "num_train_epochs": 20}, 20, 20),
        (36, {"per_device_train_batch_size": 32, "dataloader_drop_last": True}, 3, 3),
        (36, {"num_train_epochs": 0.5}, 3, 0.5),
        (36, {"max_steps": 7}, 7, 7 / 5),
    ],
)
def test_the_steps_are_those_that_the_trainer_plans(rows, recipe, steps, epochs):
    found = configuration(QUERY, **{"max_steps": -1, **recipe})
    told = estimates(found, shape=SHAPE, corpus=Corpus(rows, (32,)), setting=Setting())
    assert told["steps"] == steps == total_steps(found.recipe, rows)
    assert told["epochs"] == epochs


def test_packs_are_few_and_full():
    recipe = {"max_steps": -1, "num_train_epochs": 1, "max_length": 512, "packing": True}
    chats = Corpus(600, (16, 48))  # 19,200 tokens: 38 packs
    packed = cost(QUERY, corpus=chats, **recipe)
    apart = cost(QUERY, corpus=chats, **{**recipe, "packing": False})
    assert (packed["steps"], apart["steps"]) == (5, 75)
    assert packed["step_ms"] > 5 * apart["step_ms"]
    assert packed["peak_memory_gib"] > apart["peak_memory_gib"]


def test_gpus_share_the_work_of_a_step():
    one, four = (cost(QUERY, setting=Setting(True, devices=n)) for n in (1, 4))
    assert one["train_seconds"] / 4 < four["train_seconds"] < one["train_seconds"] / 2
    assert four["peak_memory_gib"] == one["peak_memory_gib"]
    shared = Setting.of({}, "transformers.Trainer", cuda=True, processes=4)
    assert (shared.devices, Setting.of({}, "t", cuda=False, processes=4).devices) == (4, 1)


def test_a_frozen_backbone_takes_its_weights_its_head_and_a_layer_at_work():
    head = SHAPE.head_parameters
    weights = 4 * SHAPE.total_parameters + head * (4 + 4 + 8)
    at_work = 8 * 32 * 2 * 256 * 4  # the widest tensor, twice
    assert cost()["peak_memory_gib"] * GIB == pytest.approx(weights + at_work)


def test_a_layer_keeps_what_its_backward_pass_needs():
    last, none = (cost(*m, layers={"last": 1})["peak_memory_gib"] for m in ((QUERY,), ()))
    trained = 4 * (64 + 64) * 16
    # query, key, value, what attention gives, the nonlinearity's input, and LoRA's input
    kept = 8 * 32 * (4 * 64 + 256 + 64) * 4
    assert (last - none) * GIB == pytest.approx(trained + kept)


def test_inputs_that_are_shared_are_kept_once():
    several = {**QUERY, "target_modules": ["query", "key", "value"]}
    found = cost(several)["peak_memory_gib"] - cost(QUERY)["peak_memory_gib"]
    assert found * GIB == pytest.approx(2 * 6 * 4 * (64 + 64) * 16)


@pytest.mark.parametrize(
    ("optimizer", "bytes_each"), [("adamw_torch", 8), ("sgd", 0), ("adamw_bnb_8bit", 2)]
)
def test_optimizers_keep_states_of_what_is_trained(optimizer, bytes_each):
    trained = known_metrics(configuration(ALL).architecture, SHAPE)["trainable_params"]
    found = (
        cost(ALL, optim=optimizer)["peak_memory_gib"] - cost(ALL, optim="sgd")["peak_memory_gib"]
    )
    assert found * GIB == pytest.approx(bytes_each * trained)


def test_a_quantised_base_holds_its_linear_maps_in_fewer_bits_and_twice():
    linear = sum(m.parameters for m in SHAPE.modules)
    plain = cost(setting=Setting(cuda=True))["peak_memory_gib"]
    found = cost(setting=Setting(cuda=True, bits=8))["peak_memory_gib"]
    held = 4 * SHAPE.total_parameters - 3 * linear
    assert (found - plain) * GIB == pytest.approx(2 * held - 4 * SHAPE.total_parameters)
    assert cost(setting=Setting(cuda=True, bits=4))["peak_memory_gib"] < found


def test_the_backward_pass_ends_at_the_lowest_adapted_module():
    top = reached(configuration(QUERY, layers={"last": 2}).architecture, SHAPE, checkpointing=False)
    assert top.above[0].name.endswith("layer.4.attention.self.query")
    assert len(top.above) + len(top.below) == len(SHAPE.modules)
    whole = reached(
        configuration(QUERY, layers={"last": 2}).architecture, SHAPE, checkpointing=True
    )
    assert whole.below == ()


def test_a_block_is_entered_at_its_first_module():
    prefix = {"peft_type": "LAYER_PREFIX", "num_virtual_tokens": 2}
    found = reached(
        configuration(prefix, layers={"last": 1}).architecture, SHAPE, checkpointing=False
    )
    assert found.above[0].name.endswith("layer.5.attention.self.query")


def test_more_layers_rows_and_tokens_cost_more():
    fewer = cost(ALL, layers={"last": 2})
    for more in (
        cost(ALL),
        cost(ALL, layers={"last": 2}, per_device_train_batch_size=16),
        cost(ALL, layers={"last": 2}, corpus=Corpus(1000, (64,))),
    ):
        assert all(more[metric] > fewer[metric] for metric in COSTS)


def test_checkpointing_trades_time_for_memory():
    plain, again = cost(ALL), cost(ALL, gradient_checkpointing=True)
    assert again["peak_memory_gib"] < plain["peak_memory_gib"]
    assert again["step_ms"] > plain["step_ms"]


def test_full_fine_tuning_costs_more_than_adapters_everywhere():
    wide = bert_shape(width=512)  # in a narrow model, launching adapters takes longer
    full, adapters = cost(full=True, shape=wide), cost(ALL, shape=wide)
    assert all(full[metric] > adapters[metric] for metric in COSTS)


def test_accumulated_batches_take_time_but_no_memory():
    one, two = cost(ALL), cost(ALL, gradient_accumulation_steps=2)
    assert two["peak_memory_gib"] == one["peak_memory_gib"]
    assert 1.5 < two["step_ms"] / one["step_ms"] <= 2


def test_a_run_takes_its_steps_by_number_or_by_epochs():
    by_steps = cost(ALL, max_steps=250)
    by_epochs = cost(ALL, max_steps=-1, num_train_epochs=2)  # 1000 rows in batches of 8
    assert by_steps["train_seconds"] == by_epochs["train_seconds"]
    assert by_steps["train_seconds"] == pytest.approx(0.25 * by_steps["step_ms"])


def test_logits_of_a_language_model_are_part_of_the_peak():
    shape = replace(SHAPE, head=(), head_parameters=0, embeddings=Embeddings(50_000, 64))
    found = cost(QUERY, shape=shape)["peak_memory_gib"]
    more = cost(QUERY, shape=replace(shape, embeddings=Embeddings(100_000, 64)))["peak_memory_gib"]
    assert (more - found) * GIB == pytest.approx(8 * 32 * 50_000 * (8 + 4))
    tiled = [
        cost(QUERY, shape=shape, corpus=Corpus(10, (tokens,)), setting=Setting(True, tiled=True))
        for tokens in (512, 1024)
    ]
    few, many = (each["peak_memory_gib"] for each in tiled)
    kept = 8 * 512 * 6 * (4 * 64 + 256 + 64) * 4  # 4096 tokens fill a tile: no more of it
    assert (many - few) * GIB == pytest.approx(kept, rel=0.01)


def test_dropout_keeps_a_mask_and_on_a_cpu_the_attention_matrix():
    dropping = replace(SHAPE, dropout=0.1, attention_dropout=0.1)
    assert cost(ALL, shape=dropping)["peak_memory_gib"] > cost(ALL)["peak_memory_gib"]
    on_cuda = Setting(cuda=True)
    matrix = replace(SHAPE, attention_dropout=0.1)
    assert cost(ALL, shape=matrix, setting=on_cuda) == cost(ALL, setting=on_cuda)


def test_methods_that_build_a_whole_weight_take_time_whatever_the_tokens():
    loha = {**ALL, "peft_type": "LOHA"}
    wide, few = bert_shape(width=512), Corpus(1000, (2,))
    plain = cost(ALL, corpus=few, shape=wide)["step_ms"]
    assert cost(loha, corpus=few, shape=wide)["step_ms"] > 2 * plain
