"""Tiny models under PEFT, batches for them, and the Trainer's loop with its hooks in the open."""

import copy
import json
from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from tiny_models import CONFIGS
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

LINEARS = {
    "bert": ["query", "value"],
    "gpt2": ["c_attn"],
    "llama": ["q_proj", "v_proj"],
}


def _base(family, layers=4, **changes):
    """A model from its config, the same bits every time; BERT classifies, the others speak."""
    torch.manual_seed(0)
    config = copy.deepcopy(CONFIGS[family])
    config.update({"n_layer" if family == "gpt2" else "num_hidden_layers": layers, **changes})
    classifies = family == "bert"
    auto = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    return auto.from_config(config)


def _peft(family, peft_type="LORA", layers=4, **fields):
    """The same with adapters; the classifier's head is trained too."""
    if peft_type != "PROMPT_TUNING":
        fields = {"target_modules": LINEARS[family], **fields}
    if peft_type == "IA3":
        fields["feedforward_modules"] = []
    fields["task_type"] = "SEQ_CLS" if family == "bert" else "CAUSAL_LM"
    return get_peft_model(_base(family, layers), PEFT_TYPE_TO_CONFIG_MAPPING[peft_type](**fields))


def _batch(family, seed=0, rows=4):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(3, 96, (rows, 12), generator=generator)
    labels = torch.randint(0, 2, (rows,), generator=generator) if family == "bert" else inputs
    return {"input_ids": inputs, "labels": labels}


def _optimizer(model):
    """Momentum and weight decay both move a parameter whose gradient is zero."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)


def _train(model, strategy, optimizer, steps, family, watch=lambda step: None):
    """Optimiser steps as the Trainer does them; `watch` is called after each."""
    for step in steps:
        state = SimpleNamespace(global_step=step)
        model.train()
        strategy.on_step_begin(None, state, None, model=model, optimizer=optimizer)
        model(**_batch(family, seed=step)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        strategy.on_pre_optimizer_step(None, state, None, model=model, optimizer=optimizer)
        optimizer.step()
        strategy.on_optimizer_step(None, state, None, model=model, optimizer=optimizer)
        optimizer.zero_grad()
        state.global_step += 1
        strategy.on_step_end(None, state, None, model=model, optimizer=optimizer)
        watch(step)


def _paused(make, family, pause, end, restoring=True):
    """A run that stops after `pause` steps and goes on in another model with another strategy.

    make: () -> model, strategy. restoring: whether the new strategy gets the old one's state.
    """
    model, strategy = make()
    optimizer = _optimizer(model)
    torch.manual_seed(5)
    _train(model, strategy, optimizer, range(pause), family)
    random, state = torch.get_rng_state(), json.loads(json.dumps(strategy.state()))
    other, successor = make()
    other.load_state_dict(model.state_dict())
    other_optimizer = _optimizer(other)
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    if restoring:
        successor.restore(state)
    torch.set_rng_state(random)
    _train(other, successor, other_optimizer, range(pause, end), family)
    return _snapshot(other), successor.record()


def _unbroken(make, family, end):
    model, strategy = make()
    optimizer = _optimizer(model)
    torch.manual_seed(5)
    _train(model, strategy, optimizer, range(end), family)
    return _snapshot(model), strategy.record()


def _snapshot(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.fixture
def lab():
    return SimpleNamespace(
        base=_base,
        peft=_peft,
        batch=_batch,
        optimizer=_optimizer,
        train=_train,
        snapshot=_snapshot,
        paused=_paused,
        unbroken=_unbroken,
        linears=LINEARS,
    )
