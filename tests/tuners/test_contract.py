"""What every tuner keeps, in every model that it has a place in."""

import copy
import pickle

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from tuners.cases import ALL, MERGING, REFUSING, Case, base, disturb, forward, logits, own

each = pytest.mark.parametrize("case", ALL, ids=str)
# One placement a model suffices where it makes no difference.
few = pytest.mark.parametrize(
    "case", {(case.config_class, case.family): case for case in ALL}.values(), ids=str
)


def adapted(case: Case, seed: int = 2) -> PeftModel:
    """The case's model with its parameters moved away from the start."""
    torch.manual_seed(seed)
    model = get_peft_model(base(case.family), case.config()).eval()
    disturb(model, seed)
    return model


@each
def test_it_starts_as_the_base_model(case):
    model = get_peft_model(base(case.family), case.config()).eval()
    assert torch.equal(logits(model, case.family), logits(base(case.family), case.family))


@each
def test_its_parameters_are_those_of_the_formula(case):
    model = get_peft_model(base(case.family), case.config())
    assert sum(parameter.numel() for _, parameter in own(model)) == case.parameters


@each
def test_a_step_moves_its_own_parameters_and_nothing_else(case):
    model = adapted(case)
    before = copy.deepcopy(model.state_dict())
    forward(model, case.family).square().sum().backward()
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, parameter in own(model):
        assert parameter.grad.isfinite().all(), name
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad.sign())
    moved = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert {name for name, _ in own(model)} <= moved <= names


@each
def test_it_changes_the_output_until_it_is_switched_off(case):
    expected = logits(base(case.family), case.family)
    model = adapted(case)
    assert (logits(model, case.family) - expected).abs().max() > 1e-3
    with model.disable_adapter():
        assert torch.equal(logits(model, case.family), expected)


@each
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_saved_adapter_says_the_same_on_a_fresh_base_and_under_another_name(
    case, low_cpu_mem_usage, tmp_path
):
    model = adapted(case)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(
        base(case.family), tmp_path, adapter_name="other", low_cpu_mem_usage=low_cpu_mem_usage
    )
    assert torch.equal(logits(again, case.family), logits(model, case.family))


@few
def test_its_saved_config_is_read_by_its_type(case, tmp_path):
    config = case.config()
    config.save_pretrained(str(tmp_path))
    again = PeftConfig.from_pretrained(str(tmp_path))
    assert type(again) is case.config_class
    assert again.to_dict() == config.to_dict()


@few
def test_two_adapters_live_in_one_model_and_one_leaves(case):
    first, second = adapted(case, seed=2), adapted(case, seed=3)
    model = adapted(case, seed=2)
    torch.manual_seed(3)
    model.add_adapter("second", case.config())
    assert torch.equal(logits(model, case.family), logits(first, case.family))
    model.set_adapter("second")
    disturb(model, seed=3)
    assert torch.equal(logits(model, case.family), logits(second, case.family))
    model.delete_adapter("second")
    model.set_adapter("default")
    assert torch.equal(logits(model, case.family), logits(first, case.family))
    assert not [name for name in model.state_dict() if ".second" in name]


@few
def test_only_the_active_adapter_is_trained(case):
    model = adapted(case)
    model.add_adapter("second", case.config())
    assert all(".default" in name for name, _ in own(model))
    model.set_adapter("second")
    assert all(".second" in name for name, _ in own(model))


@pytest.mark.parametrize("case", MERGING, ids=str)
def test_merged_weights_say_what_the_adapter_said(case):
    model = adapted(case)
    expected = logits(model, case.family)
    merged = model.merge_and_unload(safe_merge=True)
    torch.testing.assert_close(logits(merged, case.family), expected, atol=1e-5, rtol=1e-4)
    assert merged.state_dict().keys() == base(case.family).state_dict().keys()


@pytest.mark.parametrize("case", MERGING, ids=str)
def test_an_unmerged_model_is_the_base_bit_for_bit(case):
    model = adapted(case)
    expected = logits(model, case.family)
    model.merge_adapter()
    torch.testing.assert_close(logits(model, case.family), expected, atol=1e-5, rtol=1e-4)
    model.unmerge_adapter()
    assert torch.equal(logits(model, case.family), expected)
    with model.disable_adapter():
        assert torch.equal(logits(model, case.family), logits(base(case.family), case.family))


@pytest.mark.parametrize("case", MERGING, ids=str)
def test_a_safe_merge_refuses_what_is_not_finite(case):
    model = adapted(case)
    with torch.no_grad():
        own(model)[0][1].fill_(float("nan"))
    with pytest.raises(ValueError, match="merged weights are finite, those of .* are not"):
        model.merge_and_unload(safe_merge=True)


@pytest.mark.parametrize("case", REFUSING, ids=str)
def test_a_merge_that_cannot_be_exact_is_refused_and_touches_nothing(case):
    model = adapted(case)
    expected = logits(model, case.family)
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ValueError, match="keep (it|the adapter) beside the model"):
            merge()
    assert torch.equal(logits(model, case.family), expected)


@each
def test_unloading_gives_the_base_model_back(case):
    model = adapted(case).unload()
    expected = base(case.family)
    if case.family != "bert":  # PEFT leaves its copy of a classifier in place.
        assert torch.equal(logits(model, case.family), logits(expected, case.family))
    assert model.state_dict().keys() == expected.state_dict().keys()


@few
def test_an_adapter_of_a_bfloat16_model_is_trained_in_float32(case):
    reference = logits(adapted(case), case.family)
    torch.manual_seed(2)
    model = get_peft_model(base(case.family).bfloat16(), case.config()).eval()
    disturb(model)
    assert {parameter.dtype for _, parameter in own(model)} == {torch.float32}
    output = logits(model, case.family)
    assert output.dtype == torch.bfloat16
    assert torch.cosine_similarity(output.float().flatten(), reference.flatten(), dim=0) > 0.99


@few
def test_an_adapted_model_can_be_copied_and_pickled(case):
    model = adapted(case)
    expected = logits(model, case.family)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(logits(again, case.family), expected)


@few
def test_a_config_without_target_modules_is_refused(case):
    with pytest.raises(ValueError, match="needs target_modules, got None: name the modules"):
        case.config_class()


def test_layers_beside_a_regex_are_refused():
    with pytest.raises(ValueError, match="put the layers into the regex"):
        ALL[0].config_class(target_modules=".*query", layers_to_transform=[0])


@few
def test_chosen_layers_alone_are_adapted(case):
    if isinstance(case.target_modules, str):
        case = Case(case.family, case.config_class, ("query", "attention.output"), 0, case.fields)
    model = get_peft_model(base(case.family), case.config(layers_to_transform=[1]))
    assert own(model)
    assert all(".1." in name for name, _ in own(model))
