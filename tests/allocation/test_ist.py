"""IST's scores follow its equations and find the layer that matters."""

import numpy as np
import pytest
import torch

from autopeft.allocation.ist import ImportanceSparseTuning, scored
from autopeft.allocation.strategy import layer_of
from autopeft.allocation.suppression import adapters_by_layer


def planted(lab, family, peft_type, layer):
    """A model that learned a batch with the adapter of one layer alone, and the batch."""
    targets = {"bert": ["output.dense"], "llama": ["o_proj", "down_proj"]}[family]
    model = lab.peft(family, peft_type, target_modules=targets).eval()
    model.requires_grad_(False)
    adapters = [
        parameter
        for name, parameter in model.named_parameters()
        if layer_of(name) == layer and ("lora" in name or "ia3" in name)
    ]
    batch = lab.batch(family, rows=8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("classifier.modules_to_save.default.weight", "lm_head.weight")):
                parameter *= 20
    optimizer = torch.optim.Adam([p.requires_grad_(True) for p in adapters], lr=0.05)
    for _ in range(60):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora" in name or "ia3" in name)
    return model, batch


@pytest.mark.parametrize(
    ("family", "peft_type"), [("bert", "LORA"), ("bert", "IA3"), ("llama", "LORA")]
)
@pytest.mark.parametrize("layer", [0, 2])
def test_the_one_layer_that_matters_gets_the_lowest_score(lab, family, peft_type, layer):
    model, batch = planted(lab, family, peft_type, layer)
    strategy = ImportanceSparseTuning(model, [batch], seed=0)
    for step in range(0, 310, 10):
        strategy.choose(step, None)
    assert min(strategy.scores, key=strategy.scores.get) == layer
    others = [score for index, score in strategy.scores.items() if index != layer]
    assert strategy.scores[layer] < -0.1 < min(others)
    assert strategy.record()["layer_scores"][str(layer)] == strategy.scores[layer]


def test_scores_follow_the_papers_update_with_s_of_the_rounds_start():
    before = np.array([0.0, 1.0, -2.0])
    rewards = np.array([0.5, 0.2, 0.2])
    found = scored(before, [[True, False, False], [True, True, False], [False] * 3], rewards)
    s = 1 / (1 + np.exp(-before))
    expected = [
        0.0 + 10 * (0.2 - 0.1) * s[0] * (1 - s[0]),
        1.0 + 10 * -0.1 * s[1] * (1 - s[1]),
        -2.0,
    ]
    assert np.allclose(found, expected)


def test_probes_are_every_ten_steps_in_turn_and_leave_no_trace(lab, monkeypatch):
    model = lab.peft("bert", lora_dropout=0.5)
    model.train()
    model.base_model.model.bert.embeddings.eval()
    modes = [module.training for module in model.modules()]
    seen = []
    probes = [lab.batch("bert", seed) for seed in (7, 8)]
    strategy = ImportanceSparseTuning(model, probes, seed=0)

    def forward(*args, input_ids, **kwargs):
        seen.append(next(i for i, p in enumerate(probes) if torch.equal(p["input_ids"], input_ids)))
        assert not any(module.training for module in model.modules())
        scalings = {m[0].scaling["default"] for m in adapters_by_layer(model).values()}
        assert scalings == {1.0, 0.25}
        return real(*args, input_ids=input_ids, **kwargs)

    real = model.forward
    monkeypatch.setattr(model, "forward", forward)
    before = lab.snapshot(model)
    for step in range(31):
        strategy.choose(step, None)
    assert seen == [0] * 3 + [1] * 3 + [0] * 3
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())


def test_a_cache_is_off_in_a_probe_and_on_again_after_it(lab):
    model = lab.peft("llama", "IA3")
    strategy = ImportanceSparseTuning(model, [lab.batch("llama")], seed=0)
    caches = []
    model.register_forward_hook(lambda m, args, out: caches.append(out.past_key_values))
    strategy.choose(10, None)
    assert caches == [None] * 3
    assert model.config.use_cache is True


def test_more_layers_than_four_move_a_quarter_at_a_time(lab):
    model = lab.peft("bert", layers=9)
    strategy = ImportanceSparseTuning(model, [lab.batch("bert")], seed=0)
    assert all(len(strategy.choose(step, None)) == 2 for step in range(9))


def test_important_layers_are_drawn_more_often(lab):
    strategy = ImportanceSparseTuning(lab.peft("bert"), [lab.batch("bert")], seed=0)
    strategy.restore({**strategy.state(), "scores": [3.0, 3.0, -3.0, 3.0]})
    drawn = [strategy.choose(1, None)[0] for _ in range(200)]
    assert drawn.count(2) > 150


@pytest.mark.parametrize(
    ("peft_type", "message"),
    [(None, "IST needs a PEFT method"), ("LORA", "IST needs at least one probe batch")],
)
def test_what_ist_cannot_do_is_refused(lab, peft_type, message):
    model = lab.base("bert") if peft_type is None else lab.peft("bert")
    with pytest.raises(ValueError, match=message):
        ImportanceSparseTuning(model, [], seed=0)


def test_a_probe_without_labels_says_so(lab):
    batch = {"input_ids": lab.batch("bert")["input_ids"]}
    strategy = ImportanceSparseTuning(lab.peft("bert"), [batch], seed=0)
    with pytest.raises(ValueError, match=r"needs labels, got \['input_ids'\]"):
        strategy.choose(10, None)
