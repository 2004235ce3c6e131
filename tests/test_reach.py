"""What no architecture of a space holds is told with the file: a search would try nothing."""

import pytest
from fakes import bert_shape

from autopeft import build, config
from autopeft.domain.errors import SpecError

SPACE = """
autopeft: 1
study: small
evaluator: mine:evaluate
model: {model_name_or_path: somewhere, task_type: SEQ_CLS}
metrics: {accuracy: {goal: maximize}}
space:
  lora: {modules: [{peft_type: LORA, r: {choice: [4, 8]}, target_modules: [query]}]}
  ia3: {modules: [{peft_type: IA3, target_modules: [key], feedforward_modules: []}]}
baselines: {house: {modules: [{peft_type: LORA, r: 8, target_modules: all-linear}]}}
objectives: [accuracy, adapter_params]
budget: {trials: 12}
"""


def reach(tmp_path, *constraints):
    source = tmp_path / "space.yaml"
    source.write_text(f"{SPACE}constraints: [{', '.join(constraints)}]\n")
    shape = bert_shape()
    return build.check_reach(config.bind(config.load(source), shape), shape, source)


def test_limits_that_every_branch_can_hold_need_no_remark(tmp_path):
    assert reach(tmp_path) == []
    assert reach(tmp_path, "adapter_params <= 10_000_000", "accuracy >= 0.5") == []


def test_a_branch_that_is_never_tried_is_told(tmp_path):
    (remark,) = reach(tmp_path, "accuracy >= 0.5", "adapter_params <= 1000")
    assert remark == (
        "no architecture of branch lora holds adapter_params <= 1000 (the nearest of 2,000 drawn "
        "has 3,072): it is never tried"
    )


def test_a_space_without_anything_to_try_is_a_mistake(tmp_path):
    with pytest.raises(SpecError) as error:
        reach(tmp_path, "accuracy >= 0.5", "adapter_params <= 10")
    mistakes = error.value.mistakes
    assert [mistake.path for mistake in mistakes] == ["constraints[1]"] * 2
    assert [mistake.line for mistake in mistakes] == [13, 13]
    assert "no architecture of branch ia3 holds adapter_params <= 10" in mistakes[1].message


def test_limits_that_no_architecture_holds_together_are_told_together(tmp_path):
    with pytest.raises(SpecError) as error:
        reach(tmp_path, "adapter_params >= 4000", "adapter_params <= 5000")
    lora, ia3 = (mistake.message for mistake in error.value.mistakes)
    assert "holds adapter_params >= 4000 (the nearest of 2,000 drawn has 6,144) and" in lora
    assert "<= 5000" not in ia3
