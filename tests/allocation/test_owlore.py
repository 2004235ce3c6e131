"""OwLore draws layers by their outliers."""

import json

import pytest
import torch

from autopeft.allocation.owlore import OwLore


def with_outliers(lab, counts, adapters):
    """Layers with so many weights far from the others."""
    model = lab.peft("bert") if adapters else lab.base("bert")
    plain = model.get_base_model() if adapters else model
    with torch.no_grad():
        for layer, count in zip(plain.bert.encoder.layer, counts, strict=True):
            layer.intermediate.dense.weight.view(-1)[:count] = 3.0
    return model


@pytest.mark.parametrize("adapters", [True, False])
def test_probabilities_sum_to_one_and_rise_with_outliers(lab, adapters):
    strategy = OwLore(with_outliers(lab, [8, 0, 40, 20], adapters), seed=0, outlier=8.0)
    p = list(strategy.record()["layer_probabilities"].values())
    assert sum(p) == pytest.approx(1)
    assert p[1] < p[0] < p[3] < p[2]
    assert p[1] > 0
    # One more than there are: 9, 1, 41 and 21 of the same number of weights.
    assert p == pytest.approx([n / 72 for n in (9, 1, 41, 21)])


def test_an_adapters_own_weights_are_no_outliers(lab):
    model = with_outliers(lab, [0, 0, 0, 0], adapters=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_A" in name and "layer.1." in name:
                parameter.view(-1)[:20] = 50.0
    p = list(OwLore(model, seed=0, outlier=8.0).record()["layer_probabilities"].values())
    assert p == pytest.approx([0.25] * 4)


def test_layers_with_outliers_are_drawn_more_often(lab):
    strategy = OwLore(
        with_outliers(lab, [0, 0, 90, 0], True), seed=0, gamma=1, period=1, outlier=8.0
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    drawn = [strategy.choose(step, optimizer)[0] for step in range(100)]
    assert drawn.count(2) > 80


def test_the_probabilities_are_those_of_the_pretrained_weights_after_a_pause(lab):
    first = OwLore(with_outliers(lab, [8, 0, 40, 20], False), seed=0, outlier=8.0)
    second = OwLore(with_outliers(lab, [0, 0, 0, 0], False), seed=0, outlier=8.0)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.record() == first.record()


def test_a_factor_of_zero_is_refused(lab):
    with pytest.raises(ValueError, match="outlier must be a factor above 0, got 0"):
        OwLore(lab.base("bert"), seed=0, outlier=0)
