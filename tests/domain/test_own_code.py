"""What an evaluator returns, read: numbers, standard errors, and garbage."""

import math

import numpy as np
import pytest
import torch

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.errors import OutcomeError
from autopeft.domain.networks.describe import describe, flat_params
from autopeft.domain.objective import Metric
from autopeft.domain.own_code import MissingError, read_returned

DECLARED = {"rouge": Metric("rouge", "share", "maximize", False, "")}


def test_numbers_of_every_library_and_standard_errors_are_read():
    value = {"rouge": (torch.tensor(0.5), np.float32(0.25)), "loss": np.float64(2.0), "n": 3}
    found = read_returned(value, DECLARED, {})
    assert found.metrics == {"rouge": 0.5, "loss": 2.0, "n": 3.0}
    assert found.stderr == {"rouge": 0.25}
    assert found.left_out == ()


def test_what_is_undeclared_and_no_number_or_known_exactly_is_left_out_and_told():
    value = {"rouge": 1, "note": "x", "nan": math.nan, "adapter_params": 5, "flag": True}
    found = read_returned(value, DECLARED, {"adapter_params": 7.0})
    assert found.metrics == {"rouge": 1.0}
    assert found.left_out == ("note", "nan", "adapter_params", "flag")


def test_what_stands_under_test_is_read_beside_and_fails_nothing():
    test = {"rouge": (0.25, 0.5), "loss": math.nan, "adapter_params": 5, "n": 2}
    found = read_returned({"rouge": 1, "test": test}, DECLARED, {"adapter_params": 7.0})
    assert (found.metrics, found.test) == ({"rouge": 1.0}, {"rouge": 0.25, "n": 2.0})
    assert (found.stderr, found.test_stderr) == ({}, {"rouge": 0.5})
    assert found.left_out == ("test.loss", "test.adapter_params")
    assert read_returned({"rouge": 1, "test": {}}, DECLARED, {}).test == {}
    assert read_returned({"rouge": 1, "test": 3}, DECLARED, {}).metrics["test"] == 3  # a metric


def test_a_whole_number_beyond_floats_is_no_number():
    told = read_returned({"rouge": 0.5, "big": 10**400}, DECLARED, {})
    assert told.metrics == {"rouge": 0.5}
    assert told.left_out == ("big",)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (None, MissingError, "returns a mapping of metrics, got NoneType None: return {'rouge'"),
        (0.5, MissingError, "got float 0.5"),
        ({}, MissingError, "declares rouge, which the evaluator did not return; it returned noth"),
        ({"rogue": 1}, MissingError, "it returned rogue"),
        ({"rouge": "0.5"}, MissingError, "metric rouge takes a number, got str '0.5'"),
        ({"rouge": [0.5, 0.6]}, MissingError, "got list"),
        ({"rouge": torch.ones(2)}, MissingError, "got Tensor"),
        ({"rouge": math.nan}, OutcomeError, "metric rouge needs a finite value, got nan"),
        ({"rouge": math.inf}, OutcomeError, "got inf"),
    ],
)
def test_garbage_is_told_as_what_it_is(value, error, text):
    with pytest.raises(error) as found:
        read_returned(value, DECLARED, {})
    assert text in str(found.value)


def test_parameters_are_part_of_a_configuration_and_of_its_name():
    one = Configuration("main", Architecture(), {}, {"rank": 4, "lr": 0.00123, "on": True})
    other = Configuration("main", Architecture(), {}, {"rank": 8, "lr": 0.00123, "on": True})
    assert one != other
    assert Configuration.from_document(one.document()) == one
    assert describe(one) == "rank=4 lr=0.00123 on=true"
    assert flat_params(one)["parameters.rank"] == 4


def test_a_configuration_without_parameters_is_stored_as_it_always_was():
    plain = Configuration("main", Architecture(), {"learning_rate": 0.1})
    assert set(plain.document()) == {"branch", "architecture", "recipe"}
    assert plain.key == "1be04fe66df91823"
