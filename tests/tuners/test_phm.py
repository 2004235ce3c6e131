"""Compacter's layers."""

import pytest
import torch
from peft import get_peft_model
from tuners.cases import base

from autopeft.tuners import SerialAdapterConfig
from autopeft.tuners.phm import PhmLinear


def weight(layer):
    """W as the equation writes it."""
    terms = zip(layer.A, layer.s, layer.t, strict=True)
    return sum(torch.kron(A, s[:, None] @ t[None, :]) for A, s, t in terms)


def test_the_fast_product_is_that_with_the_sum_of_kronecker_products():
    layer, x = PhmLinear(12, 8, 4), torch.randn(5, 3, 12)
    torch.nn.init.normal_(layer.bias)
    torch.testing.assert_close(layer(x), x @ weight(layer) + layer.bias)


@pytest.mark.parametrize(("d_in", "d_out", "n"), [(12, 8, 4), (768, 24, 12), (6, 9, 3)])
def test_its_parameters_are_those_of_the_formula(d_in, d_out, n):
    count = sum(parameter.numel() for parameter in PhmLinear(d_in, d_out, n).parameters())
    assert count == n**3 + d_in + d_out + d_out


def test_its_weight_starts_with_the_variance_of_a_dense_layer():
    torch.manual_seed(0)
    weights = torch.stack([weight(PhmLinear(32, 16, 4)) for _ in range(200)])
    assert weights.var().item() == pytest.approx(1 / 32, rel=0.15)


@pytest.mark.parametrize(("d_in", "d_out"), [(10, 8), (8, 10)])
def test_a_width_that_n_does_not_divide_is_refused(d_in, d_out):
    message = f"got phm_dim=4 for {d_in} -> {d_out}: choose a common divisor"
    with pytest.raises(ValueError, match=message):
        PhmLinear(d_in, d_out, 4)


def test_a_model_whose_width_it_does_not_divide_is_refused():
    config = SerialAdapterConfig(target_modules=["down_proj"], bottleneck_size=9, phm_dim=3)
    with pytest.raises(ValueError, match="got phm_dim=3 for 32 -> 9"):
        get_peft_model(base("llama"), config)
