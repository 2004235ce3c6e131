"""The door by which a tuner enters PEFT."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from peft import LoraConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.lora import LoraModel

from autopeft.tuners import SSFConfig, Tuner, TunerConfig, register
from autopeft.tuners.ssf import SSFLayer, SSFTuner


@dataclass
class OtherConfig(TunerConfig):
    peft_type: str = "OTHER"


class OtherLayer(SSFLayer):
    prefix = "other_"


class OtherTuner(Tuner):
    tuner_layer_cls = OtherLayer


def test_the_same_registration_twice_changes_nothing():
    before = dict(PEFT_TYPE_TO_TUNER_MAPPING)
    register("SSF", SSFConfig, SSFTuner, prefix="ssf_")
    register("LORA", LoraConfig, LoraModel, prefix="lora_")
    assert before == PEFT_TYPE_TO_TUNER_MAPPING


@pytest.mark.parametrize("name", ["LORA", PeftType.IA3, "SSF"])
def test_a_name_that_another_tuner_has_is_refused(name):
    owner = PEFT_TYPE_TO_CONFIG_MAPPING[name]
    with pytest.raises(ValueError, match=f"is that of .*{owner.__name__}: choose another name"):
        register(name, OtherConfig, OtherTuner, prefix="other_")
    assert PEFT_TYPE_TO_CONFIG_MAPPING[name] is owner


@pytest.mark.parametrize("prefix", ["lora_", "ssf_"])
def test_a_prefix_that_another_tuner_has_is_refused(prefix):
    with pytest.raises(ValueError, match=f"'{prefix}' is taken: choose another, as 'other_'"):
        register("OTHER", OtherConfig, OtherTuner, prefix=prefix)
    assert "OTHER" not in PEFT_TYPE_TO_CONFIG_MAPPING


def test_a_name_in_lower_case_is_refused():
    with pytest.raises(ValueError, match="upper case, got 'other': use 'OTHER'"):
        register("other", OtherConfig, OtherTuner, prefix="other_")


def test_importing_the_package_registers_all_of_ours_and_loads_nothing_heavier_than_peft():
    code = """
import sys
import autopeft.tuners
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as known
ours = {"LAYER_PREFIX", "SERIAL_ADAPTER", "PARALLEL_ADAPTER", "SSF", "SVFIT", "PACA"}
heavy = {"ray", "mlflow", "optuna", "botorch", "trl", "datasets", "autopeft.training"}
sys.exit(str((ours - set(known)) | (heavy & set(sys.modules)) or 0).replace("0", "") or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
