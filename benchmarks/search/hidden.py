"""What the layered landscapes hide: one draw of how accuracy follows from a configuration.

L: 24 layers; K: 4 kinds of module (query, value, up, down; an adapter around the attention block
   counts as query and value, one around the feed-forward block as up and down).
b: (n, L) layers that are on; k: (n, K) kinds that are on; w = k @ importance: (n, L).

    cover    = sum_l w_l b_l - redundancy * sum_l min(w_l, w_l+1) b_l b_l+1, 1 for all of all
    effect   = (1 - exp(-c cover size / (size + half))) / (1 - exp(-c))
    accuracy = BASE + GAIN * efficiency * allocation * effect * window(rate) - overload(parameters)

Cover never falls when a layer is added, and a layer costs the same wherever it is. So the best
cover by number of layers is all that the front needs, and a dynamic program finds it exactly.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LAYERS, KINDS = 24, 4
METHODS = ("LORA", "SERIAL_ADAPTER", "PARALLEL_ADAPTER", "IA3")
ALLOCATIONS = ("uniform", "adalora", "ist")
VARIANTS = ("layered", "shuffled", "capacity_hurts", "flat", "lora_only", "unstable")
BASE, GAIN, FLOOR = 0.60, 0.30, 0.50
LOG_RATES = (-5.0, -1.0)  # log10 of the range of the learning rate

# By method: lowest and highest of the draws.
_EFFICIENCY = ((0.85, 1.0), (0.75, 1.0), (0.75, 1.0), (0.5, 0.8))
_HALF_SIZE = ((1.0, 6.0), (3.0, 16.0), (3.0, 16.0), (1.0, 1.0))
_CENTRE = ((-3.8, -2.8), (-3.6, -2.6), (-3.6, -2.6), (-2.6, -1.8))
_TOO_FAST = 0.6  # a rate too high hurts sooner than one too low
_ALL_BUT_FLAT = 0.93  # of the effect, in `flat`, is there without any capacity


@dataclass(frozen=True)
class Hidden:
    """One instance.

    importance: (K, L) by kind and layer; they sum to 1.
    efficiency, half_size, centre: (4,) by method; centre: log10 of the best learning rate at size
    8 and alpha of twice the size. allocation: (3,) factors.
    size_shift, alpha_shift: decades that the centre falls when size or alpha doubles.
    width: of the window, in decades below the centre.
    knee: log10 of the parameters above which they hurt, by `overload` a decade squared.
    floor: share of the effect that is there without capacity.
    """

    importance: Array
    redundancy: float
    saturation: float
    efficiency: Array
    half_size: Array
    allocation: Array
    centre: Array
    size_shift: float
    alpha_shift: float
    width: float
    knee: float
    overload: float
    floor: float = 0.0

    @property
    def whole(self) -> float:
        """The cover of everything, before it is divided by this."""
        return float(best_covers(self.importance.sum(0), self.redundancy)[-1])

    def cover(self, layers: Array, kinds: Array) -> Array:
        """(n,) of b, (n, L), and k, (n, K)."""
        w = (kinds @ self.importance) * layers
        shared = np.minimum(w[:, 1:], w[:, :-1]).sum(1)
        return np.asarray((w.sum(1) - self.redundancy * shared) / self.whole)

    def best_rate(self, method: NDArray[np.int64], size: Array, ratio: Array) -> Array:
        """log10 of the learning rate at the window's centre; ratio: alpha / size."""
        moved = self.size_shift * np.log2(size / 8) + self.alpha_shift * np.log2(ratio / 2)
        return np.asarray(np.clip(self.centre[method] - moved, *LOG_RATES))

    def accuracy(
        self,
        cover: Array,
        *,
        method: NDArray[np.int64],
        size: Array,
        ratio: Array,
        allocation: NDArray[np.int64],
        log_rate: Array,
        parameters: Array,
    ) -> Array:
        """(n,) true accuracies; method and allocation are positions in their tuples."""
        used = cover * size / (size + self.half_size[method])
        effect = (1 - np.exp(-self.saturation * used)) / (1 - np.exp(-self.saturation))
        effect = self.floor + (1 - self.floor) * effect
        off = log_rate - self.best_rate(method, size, ratio)
        width = np.where(off > 0, _TOO_FAST * self.width, self.width)
        window = np.exp(-0.5 * (off / width) ** 2)
        good = self.efficiency[method] * self.allocation[allocation] * effect * window
        beyond = np.maximum(0.0, np.log10(parameters) - self.knee)
        return np.asarray(np.maximum(FLOOR, BASE + GAIN * good - self.overload * beyond**2))


def draw(variant: str, seed: int) -> Hidden:
    """The instance of a seed; the variants of one seed share what they do not contradict."""
    rng = np.random.default_rng([seed, 24])

    def by_method(ranges: tuple[tuple[float, float], ...]) -> Array:
        return np.array([rng.uniform(low, high) for low, high in ranges])

    hidden = Hidden(
        importance=_importance(rng),
        redundancy=rng.uniform(0.15, 0.45),
        saturation=rng.uniform(2.0, 4.0),
        efficiency=by_method(_EFFICIENCY),
        half_size=by_method(_HALF_SIZE),
        allocation=np.array([1.0, *rng.uniform(0.9, 1.05, len(ALLOCATIONS) - 1)]),
        centre=by_method(_CENTRE),
        size_shift=rng.uniform(0.0, 0.12),
        alpha_shift=rng.uniform(0.1, 0.3),
        width=rng.uniform(0.4, 0.8),
        knee=rng.uniform(5.8, 6.6),
        overload=0.05,
    )
    order = rng.permutation(LAYERS)
    match variant:
        case "shuffled":
            return replace(hidden, importance=hidden.importance[:, order])
        case "capacity_hurts":
            return replace(hidden, knee=hidden.knee - 2.4)
        case "flat":
            return replace(
                hidden,
                floor=_ALL_BUT_FLAT,
                efficiency=np.full(len(METHODS), hidden.efficiency.mean()),
                allocation=np.ones(len(ALLOCATIONS)),
                centre=np.full(len(METHODS), hidden.centre[:3].mean()),
                size_shift=0.0,
                alpha_shift=0.0,
                overload=0.0,
            )
        case _:
            return hidden


def best_covers(w: Array, redundancy: float) -> Array:
    """(L + 1,) the largest sum of w, (L,), less redundancy, by number of layers that are on."""
    off = np.full(len(w) + 1, -np.inf)  # the last layer is off, or on
    on = off.copy()
    off[0] = 0.0
    last = np.inf
    for here in w:
        alone = off[:-1] + here
        beside = on[:-1] + here - redundancy * min(here, last)
        off, on = np.maximum(off, on), np.append(-np.inf, np.maximum(alone, beside))
        last = here
    return np.asarray(np.maximum(off, on))


def _importance(rng: np.random.Generator) -> Array:
    """Smooth in depth: a bump for the attention and one for the feed-forward block."""
    depth = (np.arange(LAYERS) + 0.5) / LAYERS
    middle = rng.uniform(0.35, 1.0)
    rows = []
    for _ in ("attention", "feed_forward"):
        own = np.clip(middle + rng.normal(0, 0.12), 0.1, 1.0)
        bump = 0.15 + np.exp(-0.5 * ((depth - own) / rng.uniform(0.12, 0.35)) ** 2)
        rows += [bump / bump.sum()] * 2
    shares = rng.dirichlet(np.full(KINDS, 3.0))
    return np.asarray(np.array(rows) * shares[:, None])
