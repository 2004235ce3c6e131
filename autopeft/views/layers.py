"""An architecture drawn in text: layers downwards, kinds of modules across, sizes in the cells."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.describe import short_kind
from autopeft.report.layer_maps import split

_NONE, _THERE = "·", "●"
_OUTSIDE = None  # the layer of a module that lies in none

Cells = Mapping[int | None, tuple[str, ...]]


def layers_table(
    architecture: Architecture, layers: int, found: Mapping[str, Any] | None = None
) -> Table | Text:
    """One row for each run of layers that are alike, one column for each method and kind.

    layers: how many the model has.
    found: module -> rank that an allocation strategy arrived at; shown in place of the planned one.
    """
    if architecture.full_fine_tuning:
        return Text("all weights of the model are trained")
    if architecture.frozen:
        return Text("no module: the frozen model with a trained head")
    columns = columns_of(architecture, layers, found)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("layer", no_wrap=True)
    for method, kind in columns:
        table.add_column(f"{method}\n{kind}", justify="right", overflow="fold")
    for name, cells in rows_of(columns, layers):
        styles = ["dim" if cell == _NONE else "bold cyan" for cell in cells]
        table.add_row(name, *(Text(c, style=s) for c, s in zip(cells, styles, strict=True)))
    return table


def columns_of(
    architecture: Architecture, layers: int, found: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], dict[int | None, str]]:
    """(method, kind) -> layer -> cell. A method that wraps no module has the kind "layer"."""
    columns: dict[tuple[str, str], dict[int | None, str]] = {}
    stacked = len({_stack(t) for m in architecture.modules for t in m.targets}) > 1
    for position, module in enumerate(architecture.modules):
        method = _method(architecture.modules, position)
        if not module.targets:
            cells = columns.setdefault((method, "layer"), {})
            cells |= dict.fromkeys(module.layers or range(layers), _size(module, None, found))
        for target in module.targets:
            layer, _ = split(target)
            kind = f"{_stack(target)} {short_kind(target)}" if stacked else short_kind(target)
            columns.setdefault((method, kind), {})[layer] = _size(module, target, found)
    return columns


def rows_of(
    columns: Mapping[tuple[str, str], Mapping[int | None, str]], layers: int
) -> list[tuple[str, tuple[str, ...]]]:
    """(`0-2`, cells) of every run of layers with the same cells; what lies in no layer is last."""
    count = max(
        [layers, *(1 + layer for c in columns.values() for layer in c if layer is not None)]
    )
    lines = [tuple(cells.get(layer, _NONE) for cells in columns.values()) for layer in range(count)]
    rows: list[tuple[str, tuple[str, ...]]] = []
    first = 0
    for layer in range(1, count + 1):
        if layer == count or lines[layer] != lines[first]:
            name = f"{first}" if layer == first + 1 else f"{first}-{layer - 1}"
            rows.append((name, lines[first]))
            first = layer
    if any(_OUTSIDE in cells for cells in columns.values()):
        rows.append(("none", tuple(cells.get(_OUTSIDE, _NONE) for cells in columns.values())))
    return rows


def _stack(target: str) -> str:
    """`encoder` or `decoder` of a model that has both; "" of one stack."""
    return next((part for part in target.split(".") if part in ("encoder", "decoder")), "")


def _method(modules: Sequence[Module], position: int) -> str:
    """`lora`, and `lora 2` for the second of its kind."""
    name = modules[position].peft_type.lower().replace("_", "-")
    before = sum(m.peft_type == modules[position].peft_type for m in modules[:position])
    return f"{name} {before + 1}" if before else name


def _size(module: Module, target: str | None, found: Mapping[str, Any] | None) -> str:
    if target is not None and found and target in found:
        return str(found[target])
    size = module.sizes.get(target, module.size) if target is not None else module.size
    return _THERE if size is None else str(size)
