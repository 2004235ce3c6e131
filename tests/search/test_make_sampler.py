import subprocess
import sys

import pytest

from autopeft.domain.errors import AutopeftError
from autopeft.search import make_sampler


@pytest.mark.parametrize("name", ["gp", "optuna.Sampler", "optuna.nsgaii", "botorch.qNEHVI"])
def test_an_unknown_sampler_is_refused_with_the_known_names(name):
    with pytest.raises(AutopeftError, match=r"autopeft, random, optuna\."):
        make_sampler(name, {})


def test_an_unknown_option_is_refused():
    with pytest.raises(
        AutopeftError, match="takes initial, candidates, budget, seeds, got 'inital'"
    ):
        make_sampler("autopeft", {"inital": 8})
    with pytest.raises(AutopeftError, match="takes no options, got 'seed'"):
        make_sampler("random", {"seed": 8})
    with pytest.raises(AutopeftError, match="takes initial, candidates, got 'budget'"):
        make_sampler("botorch.qLogNEHVI", {"budget": 8})
    with pytest.raises(AutopeftError, match="does not take these options"):
        make_sampler("optuna.TPESampler", {"populations": 8})


def test_an_option_out_of_range_is_refused():
    with pytest.raises(AutopeftError, match="initial takes a whole number from 1, got 0"):
        make_sampler("autopeft", {"initial": 0})
    with pytest.raises(AutopeftError, match="candidates takes a whole number from 1, got 'many'"):
        make_sampler("botorch.AutoPEFT", {"candidates": "many"})


def test_making_the_default_sampler_loads_neither_torch_nor_optuna():
    code = (
        "import sys; from autopeft.search import make_sampler; make_sampler('autopeft', {});"
        "print([m for m in ('torch', 'botorch', 'optuna', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
