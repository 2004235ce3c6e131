"""The tuners of `autopeft.tuners`.

m: bottleneck_size; n: phm_dim; e: encoder_hidden_size. The parallel adapter reads i and writes o,
the serial one reads and writes o.
"""

from collections.abc import Mapping

from autopeft.domain.networks.counting.count import Count, Formula, Placed, Tensors, each

_INT64 = 8


def _bottleneck(placed: Placed, reads: int, writes: int) -> int:
    size, terms = int(placed.field("bottleneck_size")), int(placed.field("phm_dim"))
    biases = size + writes
    if terms:  # two layers of n terms: A of n x n each, and rank-one factors s, t
        return 2 * terms**3 + reads + writes + 2 * size + biases
    return size * (reads + writes) + biases


def _serial(placed: Placed) -> Count:
    found = placed.widths.items()
    return placed.count(sum(n * _bottleneck(placed, o, o) for (_, o), n in found))


def _parallel(placed: Placed) -> Count:
    found = placed.widths.items()
    return placed.count(sum(n * _bottleneck(placed, i, o) for (i, o), n in found))


def _layer_prefix(placed: Placed) -> Count:
    width, tokens = placed.shape.kv_width, int(placed.field("num_virtual_tokens"))
    stored = len(placed.targets) * 2 * tokens * width
    if not placed.field("prefix_projection"):
        return placed.count(stored)
    hidden = int(placed.field("encoder_hidden_size") or width)
    projection = tokens * width + (width * hidden + hidden) + (2 * width * hidden + 2 * width)
    return placed.count(len(placed.targets) * projection, kept=stored)


def _paca(placed: Placed) -> Count:
    rank = int(placed.field("r"))
    columns = Tensors(rank * len(placed.targets), _INT64)
    return placed.count(placed.sum(lambda t: rank * t.outputs), beside=(columns,))


FORMULAS: Mapping[str, Formula] = {
    "LAYER_PREFIX": _layer_prefix,
    "PACA": _paca,
    "PARALLEL_ADAPTER": _parallel,
    "SERIAL_ADAPTER": _serial,
    "SSF": each(lambda placed, t: 2 * t.outputs),
    "SVFIT": each(lambda placed, t: int(placed.field("r"))),
}
