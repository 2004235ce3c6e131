"""What trials need where they run is told before them, and refuses nothing."""

import json

import pytest
from task_data import write_task

from autopeft import build, cli
from autopeft.builders import needs
from autopeft.config.spec import parse
from autopeft.domain.methods.peft_fields import TRAINER_VALUES

ROWS = {"path": "json", "data_files": "rows.jsonl"}
DOCUMENT = {
    "autopeft": 1,
    "study": "needs",
    "model": {"model_name_or_path": "m", "task_type": "SEQ_CLS"},
    "data": {"train": ROWS, "validation": ROWS},
    "modules": [{"peft_type": "LORA", "target_modules": ["query"]}],
    "objectives": ["accuracy"],
    "budget": {"trials": 2},
}


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """A machine that has none of the packages."""
    monkeypatch.setattr(needs, "find_spec", lambda name: None)


def told(resources=None, **training):
    document = {**DOCUMENT, "training": training, "resources": resources or {}}
    return build.needs(parse(document, folder="."))


@pytest.mark.parametrize(
    ("training", "package"),
    [
        ({"optim": "galore_adamw_8bit"}, "galore_torch"),
        ({"optim": {"choice": ["adamw_torch", "paged_lion_8bit"]}}, "bitsandbytes"),
        ({"use_liger_kernel": True}, "liger_kernel"),
        ({"deepspeed": "zero2.json"}, "deepspeed"),
    ],
)
def test_a_package_that_is_not_here_is_told_once(training, package):
    (said,) = told(**training)
    assert f"training.{next(iter(training))} needs {package} for " in said


def test_what_torch_has_needs_nothing(monkeypatch):
    assert told(optim="adamw_torch_fused", use_liger_kernel=False) == []
    monkeypatch.setattr(needs, "find_spec", lambda name: object())
    assert told(optim="adamw_8bit") == []


@pytest.mark.parametrize("field", ["fp16", "tf32"])
def test_what_needs_a_gpu_is_told_where_trials_have_none(field):
    said = f"training.{field} needs a GPU, and resources.gpus_per_trial is 0"
    assert told(**{field: True}) == [said]
    assert told({"gpus_per_trial": 1}, **{field: True}) == []
    assert told(**{field: False}) == []


def test_of_every_other_optimiser_the_package_is_known():
    plain = {name for name in TRAINER_VALUES["optim"] if needs.package_of(name) is None}
    assert plain == {"adafactor", "adagrad", "adamw_torch", "adamw_torch_fused", "rmsprop", "sgd"}


def test_validate_and_plan_tell_it(tmp_path, capsys):
    document = {**DOCUMENT, **write_task(tmp_path, "SEQ_CLS"), "training": {"optim": "lomo"}}
    (tmp_path / "space.yaml").write_text(json.dumps(document))
    said = "training.optim needs lomo_optim for 'lomo', a package that is not installed here"
    cli.validate(tmp_path / "space.yaml")
    assert said in capsys.readouterr().err
    cli.plan(tmp_path / "space.yaml", as_json=True)
    assert json.loads(capsys.readouterr().out)["training"][0].startswith(said)
