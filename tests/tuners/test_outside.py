"""The tuner from outside the package that docs/own-tuner.md shows."""

import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from tuners.cases import base, disturb, logits, own

PAGE = (Path(__file__).parents[2] / "docs" / "own-tuner.md").read_text()
CODE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1)


@pytest.fixture(scope="module")
def config_class():
    names = {"__name__": "own_tuner"}
    exec(compile(CODE, "own-tuner.md", "exec"), names)
    return names["GainConfig"]


def test_it_takes_twelve_lines_beside_its_imports():
    lines = [line for line in CODE.splitlines() if line.strip() and "import" not in line]
    assert len(lines) == 12


def test_it_trains_saves_loads_and_switches_off(config_class, tmp_path):
    expected = logits(base("bert"), "bert")
    config = config_class(target_modules=["query", "output.dense"], task_type="SEQ_CLS")
    model = get_peft_model(base("bert"), config).eval()
    assert torch.equal(logits(model, "bert"), expected)
    assert sum(parameter.numel() for _, parameter in own(model)) == 9 * 32
    disturb(model)
    told = logits(model, "bert")
    assert (told - expected).abs().max() > 1e-3
    with model.disable_adapter():
        assert torch.equal(logits(model, "bert"), expected)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(base("bert"), tmp_path), "bert"), told)


def test_a_merge_that_it_did_not_write_is_refused(config_class):
    model = get_peft_model(base("bert"), config_class(target_modules=["query"]))
    with pytest.raises(ValueError, match="only an adapter that is a change of weights"):
        model.merge_and_unload()
