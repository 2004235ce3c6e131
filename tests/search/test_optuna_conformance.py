"""Optuna's own suite for samplers, run against `AutoPEFTSampler`."""

import optuna
import pytest
from optuna.testing import pytest_samplers

from autopeft.search.as_optuna import AutoPEFTSampler


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


class WithTheModel:
    """The model decides as soon as two trials have a result."""

    @pytest.fixture
    def sampler(self):
        return lambda: AutoPEFTSampler(seed=0, n_startup_trials=0)


class TestBasic(WithTheModel, pytest_samplers.BasicSamplerTestCase):
    pass


class TestRelative(WithTheModel, pytest_samplers.RelativeSamplerTestCase):
    pass


class TestMultiObjective(WithTheModel, pytest_samplers.MultiObjectiveSamplerTestCase):
    pass
