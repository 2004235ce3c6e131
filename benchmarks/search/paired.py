"""Paired differences between samplers, with intervals.

hv: (seeds, trials) share of the best hypervolume; seeds are paired: one instance, one noise.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_RESAMPLES = 4000
_LEVEL = 0.95
_FEWEST = 3  # seeds: of fewer, the bootstrap says nothing


def interval(differences: Array) -> tuple[float, float] | None:
    """The 95 % bootstrap interval (percentiles) of a mean, (n,); None for fewer than 3 pairs.

    The same differences give the same interval.
    """
    if len(differences) < _FEWEST:
        return None
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(differences), size=(_RESAMPLES, len(differences)))
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.percentile(differences[drawn].mean(1), [tail, 100 - tail])
    return float(low), float(high)


def told(differences: Array) -> str:
    """`+0.028 [-0.023, +0.077]`; without an interval where there are too few pairs."""
    mean = f"{differences.mean():+.3f}"
    if (ends := interval(differences)) is None:
        return mean
    return f"{mean} [{ends[0]:+.3f}, {ends[1]:+.3f}]"


def with_error(values: Array, form: str = ".3f") -> str:
    """`0.941 ± 0.003`: a mean over seeds with its standard error."""
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
    return f"{values.mean():{form}}{error}"


def reached(hv: Array, level: float) -> str:
    """After how many trials the mean curve is there, `> 200` where it never is."""
    there = np.flatnonzero(hv.mean(0) >= level)
    return str(there[0] + 1) if len(there) else f"> {hv.shape[1]}"


def reached_by_half(hv: Array, level: float) -> str:
    """After how many trials half of the searches are there: the median of each one's first."""
    firsts = [np.append(np.flatnonzero(row >= level), hv.shape[1])[0] + 1 for row in hv]
    middle = float(np.median(firsts))
    return f"{middle:g}" if middle <= hv.shape[1] else f"> {hv.shape[1]}"


def band(hv: Array) -> tuple[Array, Array]:
    """(trials,) ends of the 95 % interval of the mean curve; the curve itself for few seeds."""
    if len(hv) < _FEWEST:
        return hv.mean(0), hv.mean(0)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(hv), size=(_RESAMPLES // 4, len(hv)))
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.percentile(hv[drawn].mean(1), [tail, 100 - tail], axis=0)
    return low, high


def worse(differences: Array) -> bool:
    """Whether the whole interval is below 0."""
    ends = interval(differences)
    return ends is not None and ends[1] < 0
