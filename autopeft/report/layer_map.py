"""An architecture as a small HTML table: layers down, modules across, sizes in the cells."""

from collections.abc import Mapping
from html import escape

from autopeft.domain.architecture import Architecture
from autopeft.report.layer_maps import columns_of

_STYLE = """
body{font:14px system-ui,sans-serif;margin:1.5rem;color-scheme:light dark}
table{border-collapse:collapse}
th,td{padding:.25rem .6rem;text-align:right;border:1px solid #8885}
th{font-weight:600}
td.on{background:color-mix(in srgb,#1f77b4 calc(var(--share)*70% + 12%),transparent)}
"""


def layer_map(architecture: Architecture, ranks: Mapping[str, int] | None = None) -> str:
    """A page of its own, nothing fetched.

    ranks: by full module name, where training found them.
    """
    columns = columns_of(architecture, 0, ranks)
    sizes = [int(cell) for cells in columns.values() for cell in cells.values() if cell.isdigit()]
    rows = [
        f"<tr><th scope=row>{'' if layer is None else layer}</th>"
        + "".join(_cell(cells.get(layer, ""), max(sizes, default=1)) for cells in columns.values())
        + "</tr>"
        for layer in sorted(
            {layer for cells in columns.values() for layer in cells},
            key=lambda layer: (layer is None, layer),
        )
    ]
    head = "".join(f"<th scope=col>{escape(f'{method} {kind}')}</th>" for method, kind in columns)
    table = f"<table><tr><th scope=col>layer</th>{head}</tr>{''.join(rows)}</table>"
    return f"<!doctype html><meta charset=utf-8><title>layer map</title><style>{_STYLE}</style>" + (
        table if rows else "<p>No layer has an adapter.</p>"
    )


def _cell(text: str, most: int) -> str:
    if text in ("", "0"):
        return "<td></td>"
    share = int(text) / most if text.isdigit() else 1.0
    return f'<td class=on style="--share:{share:.2f}">{escape(text)}</td>'
