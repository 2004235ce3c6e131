"""What a search takes on a base in 4 or 8 bits, from the file to the trial."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from domain.matrix import placed
from domain.quantised import case_of, works_on
from fakes import bert_shape, study_spec

from autopeft.build import problem
from autopeft.config import bind, parse
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError
from autopeft.domain.networks.capabilities import SEARCHABLE
from autopeft.domain.rules.fit import loads_quantised
from autopeft.domain.space import Choice

LORA = {"peft_type": "LORA", "r": 2, "target_modules": ["query"]}
GOOD = read(Path(__file__).parents[1] / "config" / "good.yaml")[0]


@pytest.mark.parametrize("peft_type", sorted(SEARCHABLE))
def test_a_quantised_base_takes_the_types_that_are_right_on_it_and_no_other(peft_type, tmp_path):
    wrong = [said for bits in (4, 8) if (said := works_on(peft_type, bits, tmp_path / str(bits)))]
    refusal = case_of(peft_type).refusal(quantized=True)
    assert (refusal is None) == (not wrong), wrong
    assert refusal is None or "on a quantised base" in refusal


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        *(
            ({"init_lora_weights": init}, "start from base weights: on a quantised base take")
            for init in ("mica", "olora", "orthogonal", "pissa")
        ),
        ({"kasa_config": {}}, "LORA has no kasa_config on a quantised base: remove it"),
        ({"use_bdlora": {}}, "LORA has no use_bdlora on a quantised base: remove it"),
    ],
)
def test_variants_of_lora_that_quantised_layers_do_not_have_are_refused_there(fields, reason):
    case = placed("LORA", "llama", **fields)
    assert case.refusal() is None
    assert reason in case.refusal(quantized=True)


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (
            {"modules": [{"peft_type": "HRA", "r": 2, "target_modules": ["query"]}]},
            "HRA gives wrong outputs on a quantised base",
        ),
        ({"full_fine_tuning": True}, "full_fine_tuning needs weights with gradients"),
        (
            {"modules": [{"peft_type": "LN_TUNING", "target_modules": ["query"]}]},
            "LN_TUNING trains weights of the base, on a quantised one those of norms alone",
        ),
        (
            {"modules": [LORA], "allocation": "spt"},
            "allocation spt needs weights with gradients",
        ),
        (
            {"modules": [LORA, {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 2}]},
            "the Trainer takes one module on a quantised base, got 2",
        ),
    ],
)
def test_a_file_with_a_quantised_model_is_refused_what_is_wrong_there(tree, reason):
    spec = study_spec(branches={"b": tree}, baselines={})
    bind(spec, bert_shape())
    with pytest.raises(SpecError, match=f"this model takes no configuration of it: {reason}"):
        bind(quantised(spec), bert_shape())


def test_a_point_that_is_wrong_on_a_quantised_base_is_never_a_trial():
    lora = {"peft_type": "LORA", "r": 2, "target_modules": ["query"]}
    inits = Choice((True, "pissa"))
    spec = study_spec(branches={"b": {"modules": [lora | {"init_lora_weights": inits}]}})
    spec = bind(quantised(spec), bert_shape())
    configure = problem(spec, bert_shape()).configure
    name = "modules[0].init_lora_weights"
    assert configure({"branch": "b", name: 0}).architecture.modules
    with pytest.raises(ValueError, match="on a quantised base take another init"):
        configure({"branch": "b", name: 1})


def quantised(spec):
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    return replace(spec, model={**spec.model, "quantization_config": config})


@pytest.mark.parametrize("name", ["load_in_4bit", "load_in_8bit"])
def test_a_file_asks_for_quantisation_in_one_way_only(name):
    document = copy.deepcopy(GOOD)
    document["model"]["quantization_config"] = {"quant_method": "bitsandbytes", name: True}
    assert loads_quantised(parse(document, folder=".").model)
    document["model"][name] = True
    with pytest.raises(SpecError, match=f"model.{name}: stands for a quantization_config"):
        parse(document, folder=".")
    del document["model"]["quantization_config"]
    assert loads_quantised(parse(document, folder=".").model)
