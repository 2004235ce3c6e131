"""An architecture as a small HTML table: layers down, modules across, sizes in the cells."""

from collections.abc import Mapping
from html import escape

from autopeft.domain.architecture import Architecture
from autopeft.domain.describe import module_name
from autopeft.report.layer_maps import split

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
    cells: dict[tuple[int, str], list[tuple[str, int]]] = {}
    for module in architecture.modules:
        name, size = module_name(module), module.size or 0
        for target in module.targets:
            layer, kind = split(target)
            found = (ranks or {}).get(target, module.sizes.get(target, size))
            if layer is not None and (found or not module.size):
                cells.setdefault((layer, kind), []).append((name, int(found)))
        if not module.targets:
            for layer in module.layers:
                cells.setdefault((layer, name), []).append((name, size))
    kinds = sorted({kind for _, kind in cells})
    most = max((size for found in cells.values() for _, size in found), default=1) or 1
    rows = [
        f"<tr><th scope=row>{layer}</th>"
        + "".join(_cell(cells.get((layer, kind), []), most) for kind in kinds)
        + "</tr>"
        for layer in sorted({layer for layer, _ in cells})
    ]
    head = "".join(f"<th scope=col>{escape(kind)}</th>" for kind in kinds)
    table = f"<table><tr><th scope=col>layer</th>{head}</tr>{''.join(rows)}</table>"
    return f"<!doctype html><meta charset=utf-8><title>layer map</title><style>{_STYLE}</style>" + (
        table if cells else "<p>No layer has an adapter.</p>"
    )


def _cell(found: list[tuple[str, int]], most: int) -> str:
    if not found:
        return "<td></td>"
    text = ", ".join(f"{name} {size}" if size else name for name, size in found)
    share = max(size for _, size in found) / most or 1.0
    return f'<td class=on style="--share:{share:.2f}">{escape(text)}</td>'
