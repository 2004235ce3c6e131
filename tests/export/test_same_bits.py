"""An exported trial trains again to the same bits, and loads, where autopeft cannot be imported."""

import pytest
from export.again import also_long, check_bits, check_predictions, check_script

# Of what the script has in common with another, one: it takes five seconds.
RETRAINED = also_long(
    ["lora", "adalora", "ist", "spt"], ["prefix", "increlora", "owlore", "halved"]
)
LOADED = also_long(
    ["lora", "pissa", "ia3", "prefix", "distilbert", "adalora", "ist", "spt"],
    ["eva", "increlora", "owlore", "random"],
)


@pytest.mark.parametrize("name", RETRAINED)
def test_the_script_trains_to_the_bits_of_the_trial(exported, name):
    check_bits(exported(name))


@pytest.mark.parametrize("name", RETRAINED)
def test_the_script_is_formatted_short_and_free_of_autopeft(exported, name):
    check_script(exported(name))


@pytest.mark.parametrize("name", LOADED)
def test_the_weights_load_with_peft_and_predict_the_labels_of_the_trial(exported, name):
    check_predictions(exported(name))
