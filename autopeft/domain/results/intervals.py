"""How wide an interval of 95 % is, in standard errors."""

from math import atan, cos, pi, sin, sqrt

Z95 = 1.96
"""Of what is normal with a variance that is known."""

_WIDEST = 13.0  # above Student's t at one degree of freedom
_HALVINGS = 50


def t95(freedom: int) -> float:
    """Of what is normal with a variance that was estimated: Student's t at .975.

    freedom: degrees of freedom of the variance, 1 or more.
    """
    low, high = 0.0, _WIDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _inside(t: float, freedom: int) -> float:
    """Student's probability between -t and t (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    odd = freedom % 2
    angle = atan(t / sqrt(freedom))
    term = cos(angle) if odd else 1.0
    total = 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cos(angle) ** 2 * (power + 1) / (power + 2)
    total *= sin(angle)
    return 2 / pi * (angle + total) if odd else total
