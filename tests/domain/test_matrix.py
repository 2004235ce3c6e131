"""The table of capabilities and the formulas against the installed PEFT, type by family.

What is seen stands in docs/coverage.md: `make coverage` runs these tests with
AUTOPEFT_WRITE_COVERAGE set, and they write it; without it they compare.
"""

import os

import pytest
import torch
from domain.coverage import FILE, REFUSED, cell, read, render
from domain.matrix import FAMILIES, base_of, logits, placed, steps
from peft import PeftModel, PeftType
from safetensors.torch import load_file

from autopeft.domain.networks.capabilities import CAPABILITIES
from autopeft.domain.networks.peft_config import OWN
from autopeft.domain.rules.fit import unmergeable

WRITING = "AUTOPEFT_WRITE_COVERAGE" in os.environ
CASES = [(kind, family) for kind in CAPABILITIES for family in FAMILIES]
UNSEARCHABLE = [case for case in CASES if CAPABILITIES[case[0]].unsearchable is not None]
FITTING = [case for case in CASES if placed(*case).refusal() is None]
UNFITTING = [case for case in CASES if case not in FITTING and case not in UNSEARCHABLE]


@pytest.fixture(scope="session")
def table():
    """The cells of the file; where it is written, those that the tests put there."""
    if not WRITING:
        yield read(FILE.read_text())
        return
    found = {}
    yield found
    if set(found) == set(CASES):  # else a test failed
        FILE.write_text(render(found))


def stands(table, peft_type, family, works, reason):
    seen = cell(peft_type, works, reason)
    if WRITING:
        table[peft_type, family] = seen
    assert table.get((peft_type, family)) == seen, f"{FILE.name} is stale: run `make coverage`"


def test_the_table_holds_the_installed_types_and_no_other():
    assert set(CAPABILITIES) - set(OWN) == {kind.value for kind in PeftType}


@pytest.mark.skipif(WRITING, reason="it is being written")
def test_the_file_has_every_row_and_column_and_nothing_else(table):
    assert list(table) == CASES, f"{FILE.name} is stale: run `make coverage`"
    assert FILE.read_text() == render(table), f"{FILE.name} is stale: run `make coverage`"


@pytest.mark.parametrize(("peft_type", "family"), FITTING)
def test_what_fits_trains_as_counted_reloads_and_merges(peft_type, family, tmp_path, table):
    case = placed(peft_type, family)
    untouched = logits(case.base, family)
    model = build(case)
    fresh = (logits(model, family) - untouched).abs().max()
    assert (fresh < 1e-5) == CAPABILITIES[peft_type].identity, f"a fresh adapter moves it {fresh}"
    train(case, model)
    expected = logits(model, family)
    assert not torch.equal(expected, untouched)
    model.save_pretrained(tmp_path)
    uncounted = miscounted(case, model, load_file(tmp_path / "adapter_model.safetensors"))
    loaded = PeftModel.from_pretrained(base_of(family), tmp_path)
    torch.testing.assert_close(logits(loaded, family), expected, rtol=1e-4, atol=1e-4)
    apart = unmergeable(case.module, shape=case.shape)
    assert merges(loaded, family, expected) == (apart is None), apart
    works = "trains, reloads" if apart else "trains, reloads, merges"
    stands(table, peft_type, family, REFUSED if uncounted else works, uncounted or apart)


@pytest.mark.parametrize(("peft_type", "family"), UNFITTING)
def test_what_does_not_fit_fails_or_leaves_something_out(peft_type, family, table):
    case = placed(peft_type, family)
    if "leaves the new" in case.refusal() and CAPABILITIES[peft_type].families is None:
        assert not any(p.requires_grad for p in case.model().classifier.parameters())
    else:
        with pytest.raises(Exception):  # noqa: B017 - PEFT and torch raise all kinds
            steps(case.model(), family, count=1)
    stands(table, peft_type, family, REFUSED, case.refusal())


@pytest.mark.parametrize(("peft_type", "family"), UNSEARCHABLE)
def test_what_no_search_takes_is_refused_on_every_family(peft_type, family, table):
    reason = placed(peft_type, family).refusal()
    assert CAPABILITIES[peft_type].unsearchable in reason
    stands(table, peft_type, family, REFUSED, reason)


def build(case):
    """The built model; what it trains outside the head is new, none of the base's own."""
    pretrained = {id(parameter) for parameter in case.base.parameters()}
    model = case.model()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert not pretrained & {id(parameter) for parameter in trained}
    return model


def train(case, model):
    """Every trained parameter gets a finite gradient, nothing else gets one or moves."""
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    for name, gradient in steps(model, case.family).items():
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name
        # A rank that AdaLoRA has taken away learns nothing more.
        assert gradient.any() or case.module.peft_type == "ADALORA", name
    now = dict(model.named_parameters())
    for name, before in frozen.items():
        assert now[name].grad is None, name
        assert torch.equal(now[name], before), name


def miscounted(case, model, stored):
    """Why a type is not counted; None: the sizes of model and file are those that were counted."""
    try:
        known = case.known()
    except ValueError as refusal:
        return str(refusal)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert known["trainable_params"] == trained
    kept = [t for name, t in stored.items() if not set(case.shape.head) & set(name.split("."))]
    if case.module.peft_type == "ADALORA":  # the most that its allocation can keep
        assert sum(t.numel() for t in kept) <= known["adapter_params"] < trained
    else:
        assert known["adapter_params"] == sum(t.numel() for t in kept)
        assert known["adapter_bytes"] == sum(t.numel() * t.itemsize for t in kept)
    return None


def merges(model, family, expected):
    """Whether it merges into the same outputs."""
    try:
        merged = logits(model.merge_and_unload(), family)
    except Exception:  # PEFT raises all kinds
        return False
    return torch.allclose(merged, expected, rtol=1e-3, atol=1e-3)
