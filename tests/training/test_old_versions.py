"""What an older version of the supported ones gets wrong is refused there, and only there."""

import pytest
from fakes import bert_shape

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.training import old_versions
from autopeft.training.inject import UnfitError

QUANTISED = {"quantization_config": {"load_in_4bit": True}}


def lora(**fields):
    module = {"peft_type": "LORA", "r": 4, "target_modules": ["query"], **fields}
    shape, recipe = bert_shape(), {"learning_rate": 1e-3}
    return canonical(
        {"modules": [module]}, branch="b", shape=shape, training=recipe, defaults=PEFT_DEFAULTS
    ).architecture


@pytest.mark.parametrize(
    ("trl", "fields", "model", "refused"),
    [
        ("1.10.0", {"use_dora": True}, QUANTISED, True),
        ("1.14.2", {"use_dora": True}, QUANTISED, True),
        ("1.15.0", {"use_dora": True}, QUANTISED, False),
        ("2.0.0", {"use_dora": True}, QUANTISED, False),
        ("1.10.0", {}, QUANTISED, False),
        ("1.10.0", {"use_dora": True}, {}, False),
    ],
)
def test_dora_under_qlora_needs_a_trl_that_trains_it(monkeypatch, trl, fields, model, refused):
    monkeypatch.setattr(old_versions, "version", lambda package: trl)
    if not refused:
        old_versions.refuse_what_is_broken(lora(**fields), model)
        return
    with pytest.raises(UnfitError, match=rf"needs trl 1\.15 or later, got {trl}, which freezes"):
        old_versions.refuse_what_is_broken(lora(**fields), model)
