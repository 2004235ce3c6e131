"""The same of what is more than a plain adapter: started by data, whole models, several modules."""

import pytest
from export.again import also_long, check_bits, check_predictions, check_script
from exports import forked, measured_as_the_card_says

RETRAINED = also_long(
    ["init eva", "int8", "full", "composite", "sft", "prompt sft", "glora"],
    ["corda", "lora_ga", "lisa", "ist sft", "corda sft"],
)


@pytest.mark.parametrize("name", RETRAINED)
def test_the_script_trains_to_the_bits_of_the_trial(exported, name):
    check_bits(exported(name))


@pytest.mark.parametrize("name", RETRAINED)
def test_the_script_is_formatted_short_and_free_of_autopeft(exported, name):
    check_script(exported(name))


@pytest.mark.parametrize("name", ["composite", "ssf"])
def test_what_is_no_peft_adapter_loads_as_the_card_says(exported, name):
    done = exported(name)
    found = measured_as_the_card_says(done.folder, forked)
    assert found["accuracy"] == done.trial.metrics["accuracy"]
    assert found["loss"] == pytest.approx(done.trial.metrics["eval_loss"], rel=1e-5)


@pytest.mark.parametrize("name", also_long(["init eva"], ["corda", "lora_ga"]))
def test_weights_that_started_by_data_load_with_peft_and_predict_the_labels(exported, name):
    check_predictions(exported(name))
