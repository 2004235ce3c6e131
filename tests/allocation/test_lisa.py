"""LISA trains gamma layers for a period, and the optimiser forgets the others."""

import pytest

from autopeft.allocation.lisa import Lisa
from autopeft.allocation.strategy import layer_of, layer_parameters


@pytest.mark.parametrize("full", [True, False])
def test_the_optimiser_holds_moments_of_gamma_layers_and_of_what_is_outside(lab, full):
    model = lab.base("llama") if full else lab.peft("bert")
    strategy = Lisa(model, seed=1, gamma=1, period=3)
    optimizer = lab.optimizer(model)
    outside = {p for n, p in model.named_parameters() if p.requires_grad and layer_of(n) is None}
    parameters = layer_parameters(model)
    history = []

    def watch(step):
        (layer,) = strategy.moving
        assert set(optimizer.state) == outside | set(parameters[layer])
        history.append(layer)

    lab.train(model, strategy, optimizer, range(15), "llama" if full else "bert", watch)
    periods = [set(history[i : i + 3]) for i in range(0, 15, 3)]
    assert all(len(layers) == 1 for layers in periods)
    assert len(set().union(*periods)) > 1


def test_a_layer_that_is_drawn_again_starts_with_fresh_moments(lab):
    model = lab.peft("bert", layers=2)
    strategy = Lisa(model, seed=0, gamma=1, period=2)
    optimizer = lab.optimizer(model)
    ages = []

    def watch(step):
        (layer,) = strategy.moving
        ages.append((layer, int(optimizer.state[layer_parameters(model)[layer][0]]["step"])))

    lab.train(model, strategy, optimizer, range(12), "bert", watch)
    entered = [i for i in range(1, 12) if ages[i][0] != ages[i - 1][0]]
    assert len(entered) > 1
    assert all(ages[i][1] == 1 for i in entered)


def test_every_layer_is_as_likely_as_the_others(lab):
    strategy = Lisa(lab.peft("bert"), seed=0)
    assert strategy.record() == {"layer_probabilities": dict.fromkeys("0123", 0.25)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"gamma": 5}, "gamma must be 1 to the 4 layers"), ({"period": 0}, "at least 1 step, got 0")],
)
def test_what_does_not_fit_is_refused(lab, fields, message):
    with pytest.raises(ValueError, match=message):
        Lisa(lab.peft("bert"), seed=0, **fields)
