"""Architectures drawn as layers by modules."""

from dataclasses import replace

from explored import explored_trials, with_maps
from fakes import bert_shape
from rich.console import Console

from autopeft.domain.architecture import Architecture, Module
from autopeft.views.layers import columns_of, layers_table, rows_of

SHAPE = bert_shape()


def module(kinds, layers, peft_type="LORA", **fields):
    targets = tuple(f"bert.encoder.layer.{layer}.{kind}" for layer in layers for kind in kinds)
    return Module(peft_type, fields, targets, tuple(layers))


def drawn(architecture, layers=6, found=None):
    columns = columns_of(architecture, layers, found)
    return list(columns), rows_of(columns, layers)


def test_layers_that_are_alike_share_a_row():
    kinds = ("attention.self.query", "attention.self.value")
    columns, rows = drawn(Architecture((module(kinds, (2, 3, 5), r=8),)))
    assert columns == [("lora", "q"), ("lora", "v")]
    assert rows == [
        ("0-1", ("·", "·")),
        ("2-3", ("8", "8")),
        ("4", ("·", "·")),
        ("5", ("8", "8")),
    ]


def test_sizes_by_module_and_ranks_that_were_found_stand_where_they_are():
    query = "bert.encoder.layer.{}.attention.self.query"
    lora = module(("attention.self.query",), (0, 1), r=2, rank_pattern={query.format(1): 4})
    assert drawn(Architecture((lora,)), 2)[1] == [("0", ("2",)), ("1", ("4",))]
    found = {query.format(0): 7, query.format(1): 0}
    assert drawn(Architecture((lora,)), 2, found)[1] == [("0", ("7",)), ("1", ("0",))]


def test_methods_beside_each_other_have_columns_of_their_own():
    prefix = Module("LAYER_PREFIX", {"num_virtual_tokens": 5}, (), (0,))
    ia3 = module(("output.dense",), (1,), "IA3")
    lora = module(("output.dense",), (0, 1), r=1)
    columns, rows = drawn(Architecture((prefix, ia3, lora, lora)), 2)
    assert columns == [
        ("layer-prefix", "layer"),
        ("ia3", "down"),
        ("lora", "down"),
        ("lora 2", "down"),
    ]
    assert rows == [("0", ("5", "·", "1", "1")), ("1", ("·", "●", "1", "1"))]


def test_encoder_and_decoder_are_kept_apart():
    targets = ("encoder.block.0.layer.0.SelfAttention.q", "decoder.block.0.layer.0.SelfAttention.q")
    columns, rows = drawn(Architecture((Module("LORA", {"r": 3}, targets, (0,)),)), 1)
    assert [kind for _, kind in columns] == ["encoder q", "decoder q"]
    assert rows == [("0", ("3", "3"))]


def test_what_has_no_module_says_so():
    assert "all weights" in str(layers_table(Architecture(full_fine_tuning=True), 6))
    assert "frozen model" in str(layers_table(Architecture(), 6))


def test_a_table_fits_80_columns():
    everything = tuple({m.kind for m in SHAPE.modules})
    architecture = Architecture(
        tuple(module(everything, range(6), kind, r=4) for kind in ("LORA", "ADALORA"))
    )
    console = Console(width=80)
    with console.capture() as captured:
        console.print(layers_table(architecture, 6))
    assert "lora" in captured.get()
    assert max(map(len, captured.get().splitlines())) <= 80


def test_the_ranks_of_a_study_are_drawn():
    trial = next(t for t in with_maps(explored_trials(20)) if t.provenance.get("ranks"))
    trial = replace(trial, number=0)
    columns = columns_of(trial.configuration.architecture, 6, trial.provenance["ranks"])
    told = {cell for cells in columns.values() for cell in cells.values()}
    assert told == {str(rank) for rank in trial.provenance["ranks"].values()}
