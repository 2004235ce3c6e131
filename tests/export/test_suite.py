"""A configuration as an experiment of the PEFT comparison suite."""

import json
from dataclasses import replace

import pytest
from fakes import bert_shape, study_spec
from peft import LoraConfig

from autopeft.domain.architecture import canonical
from autopeft.domain.errors import ExportError
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import State, Trial
from autopeft.export import export_suite
from autopeft.importing.study import _module

LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 32, "target_modules": ["query"]}


def trial(*modules, full=False, allocation="uniform"):
    tree = {"modules": list(modules), "full_fine_tuning": full, "allocation": allocation}
    configuration = canonical(
        {**tree, "training": {"learning_rate": 3e-4, "per_device_train_batch_size": 4}},
        branch="b",
        shape=bert_shape(),
        training={},
        defaults=PEFT_DEFAULTS,
    )
    return Trial(3, configuration, 7, {}, {}, state=State.COMPLETED)


def write(tmp_path, told, task="CAUSAL_LM"):
    spec = replace(study_spec(), model={"model_name_or_path": "llama", "task_type": task})
    return export_suite(spec, told, shape=bert_shape(), model="llama", total_steps=50, to=tmp_path)


def test_the_files_stand_where_the_suite_looks_and_say_what_the_trial_was(tmp_path):
    config, params = write(tmp_path, trial(LORA))
    assert config.name == "adapter_config.json"
    assert config.parent.parent == tmp_path / "experiments" / "lora"
    assert json.loads(params.read_text()) == {
        "model_id": "llama",
        "seed": 7,
        "optimizer_kwargs": {"lr": 3e-4, "weight_decay": 0.0},
        "batch_size": 4,
        "max_steps": 50,
    }
    loaded = LoraConfig.from_pretrained(str(config.parent))
    assert (loaded.r, loaded.lora_alpha, loaded.base_model_name_or_path) == (4, 32, "llama")
    assert len(loaded.target_modules) == 6
    again = canonical(
        {"modules": [_module(json.loads(config.read_text()))]},
        branch="b",
        shape=bert_shape(),
        training={},
        defaults=PEFT_DEFAULTS,
    )
    assert again.architecture == trial(LORA).configuration.architecture, "import reads it back"
    with pytest.raises(ExportError, match="is there already"):
        write(tmp_path, trial(LORA))


def test_full_fine_tuning_has_no_adapter(tmp_path):
    (params,) = write(tmp_path, trial(full=True))
    assert params.parent.parent.name == "full-finetuning"


@pytest.mark.parametrize(
    ("told", "task", "said"),
    [
        (trial(LORA), "SEQ_CLS", "is or has a task of type SEQ_CLS"),
        (trial(LORA, allocation="adalora"), "CAUSAL_LM", "allocation adalora"),
        (trial({"peft_type": "SSF", "target_modules": ["query"]}), "CAUSAL_LM", "SSF, which PEFT"),
        (trial(), "CAUSAL_LM", "the frozen model"),
    ],
)
def test_what_the_suite_cannot_train_is_refused(tmp_path, told, task, said):
    with pytest.raises(ExportError, match=said):
        write(tmp_path, told, task)
    assert not list(tmp_path.iterdir())
