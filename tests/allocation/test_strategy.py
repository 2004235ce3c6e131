"""Layers are found by name, sampled ones move and no others, and a pause changes no bit."""

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from autopeft.allocation.ist import ImportanceSparseTuning
from autopeft.allocation.lisa import Lisa
from autopeft.allocation.owlore import OwLore
from autopeft.allocation.strategy import layer_of, layer_parameters


def ist(lab, model, family):
    return ImportanceSparseTuning(model, [lab.batch(family, 90), lab.batch(family, 91)], seed=3)


def lisa(lab, model, family):
    return Lisa(model, seed=3, gamma=2, period=4)


def owlore(lab, model, family):
    return OwLore(model, seed=3, gamma=2, period=4, outlier=3.0)


CASES = [
    pytest.param("bert", "LORA", ist, 1, id="ist on an encoder"),
    pytest.param("llama", "LORA", ist, 1, id="ist on a decoder"),
    pytest.param("gpt2", "IA3", ist, 1, id="ist without a scaling"),
    pytest.param("bert", "LORA", lisa, 2, id="lisa with adapters"),
    pytest.param("llama", None, lisa, 2, id="lisa with full fine-tuning"),
    pytest.param("gpt2", None, owlore, 2, id="owlore with full fine-tuning"),
]


def make(lab, family, peft_type, strategy):
    model = lab.base(family) if peft_type is None else lab.peft(family, peft_type)
    return model, strategy(lab, model, family)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("base_model.model.bert.encoder.layer.3.attention.self.query.lora_A.default.weight", 3),
        ("model.layers.12.mlp", 12),
        ("transformer.h.0.attn.c_attn", 0),
        ("model.layers.7", 7),
        ("classifier.modules_to_save.default.weight", None),
        ("model.embed_tokens.weight", None),
        ("bert.pooler.dense.weight", None),
    ],
)
def test_a_name_says_its_layer(name, layer):
    assert layer_of(name) == layer


def test_a_parameter_that_two_layers_share_belongs_to_none(lab):
    model = lab.base("llama")
    layers = model.model.layers
    layers[1].mlp.up_proj.weight = layers[0].mlp.up_proj.weight
    found = layer_parameters(model)
    assert set(found) == {0, 1, 2, 3}
    assert len(found[0]) == len(found[1]) == len(found[2]) - 1


@pytest.mark.parametrize(("family", "peft_type", "strategy", "count"), CASES)
def test_exactly_the_sampled_layers_and_what_is_outside_of_layers_move(
    lab, family, peft_type, strategy, count
):
    model, strategy = make(lab, family, peft_type, strategy)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    before = lab.snapshot(model)
    seen = set()

    def watch(step):
        after = lab.snapshot(model)
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        assert moved <= trained
        inside = {layer_of(name) for name in moved} - {None}
        # LoRA's A has no gradient in a layer's first step, so only B moves; some of it always does.
        assert inside == set(strategy.moving)
        assert {n for n in trained if layer_of(n) is None} == {
            n for n in moved if layer_of(n) is None
        }
        assert len(strategy.moving) == count
        assert {n for n, p in model.named_parameters() if p.requires_grad} == trained
        before.update(after)
        seen.update(strategy.moving)

    lab.train(model, strategy, lab.optimizer(model), range(14), family, watch)
    assert len(seen) > count


@pytest.mark.parametrize(("family", "peft_type", "strategy", "count"), CASES)
def test_a_run_that_pauses_goes_on_to_the_same_bits(lab, family, peft_type, strategy, count):
    def fresh():
        return make(lab, family, peft_type, strategy)

    expected, record = lab.unbroken(fresh, family, 24)
    found, found_record = lab.paused(fresh, family, 11, 24)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert found_record == record
    forgetful, _ = lab.paused(fresh, family, 12, 24, restoring=False)
    assert not all(torch.equal(forgetful[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("family", "peft_type", "strategy", "count"), CASES)
def test_the_seed_decides_and_the_global_generator_is_not_drawn_from(
    lab, family, peft_type, strategy, count
):
    histories = []
    for seed in (0, 1):
        model, sampler = make(lab, family, peft_type, strategy)
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        optimizer = lab.optimizer(model)
        history = []
        for step in range(12):
            sampler.on_step_begin(None, type("S", (), {"global_step": step}), None, optimizer)
            history.append(sampler.moving)
        assert torch.equal(torch.get_rng_state(), state)
        histories.append(history)
    assert histories[0] == histories[1]


def test_a_frozen_layer_has_no_gradient_to_clip_and_none_left_from_before(lab):
    model = lab.peft("bert")
    strategy = Lisa(model, seed=0, gamma=1, period=1)
    optimizer = lab.optimizer(model)
    layers = layer_parameters(model)
    for step in range(4):
        state = SimpleNamespace(global_step=step)
        strategy.on_step_begin(None, state, None, optimizer=optimizer)
        model(**lab.batch("bert")).loss.backward()
        (moving,) = strategy.moving
        frozen = [p for layer in layers if layer != moving for p in layers[layer]]
        assert not any(p.grad is not None and p.grad.any() for p in frozen)
        strategy.on_pre_optimizer_step(None, state, None)
        assert all(p.grad is None for p in frozen)
        assert any(p.grad.any() for p in layers[moving])
        strategy.on_step_end(None, state, None)
        optimizer.zero_grad(set_to_none=False)  # zeros stay behind: Adam would move on them


def test_a_method_outside_of_layers_is_refused(lab):
    model = lab.peft("gpt2", "PROMPT_TUNING", num_virtual_tokens=4)
    with pytest.raises(ValueError, match="at least two have trainable parameters of their own"):
        Lisa(model, seed=0)


def test_adalora_is_refused(lab):
    model = lab.peft("bert", "ADALORA", init_r=4, target_r=2, total_step=100)
    with pytest.raises(ValueError, match="no allocator needs every gradient, got AdaLoRA"):
        Lisa(model, seed=0)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_trainer_moves_the_sampled_layers_alone(lab, tmp_path, checkpointing):
    model = lab.peft("bert")
    strategy = Lisa(model, seed=0, gamma=1, period=100)
    before = lab.snapshot(model)
    rows = [lab.batch("bert", seed, rows=1) for seed in range(12)]
    data = Dataset.from_list(
        [{"input_ids": row["input_ids"][0].tolist(), "labels": int(row["labels"])} for row in rows]
    )
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        gradient_checkpointing=checkpointing,
        learning_rate=1e-2,
        weight_decay=0.1,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    Trainer(model, arguments, train_dataset=data, callbacks=[strategy]).train()
    after = lab.snapshot(model)
    moved = {layer_of(name) for name in after if not torch.equal(before[name], after[name])}
    assert moved == {None, *strategy.moving}
