"""An architecture drawn in text: layers downwards, kinds of modules across, sizes in the cells."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from autopeft.domain.architecture import Architecture
from autopeft.report.layer_maps import columns_of

_NONE = "·"
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
