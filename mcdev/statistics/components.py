"""How much of a spread is between devices (D2D) and how much within a device, from cycle to cycle (C2C).

One-way random effects: x_dc = µ + b_d + w_dc with b ~ N(0, σ_b²) and w ~ N(0, σ_w²). Devices may have different
numbers of cycles.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import special

LEVEL = 0.95
"""Of every interval in this package."""
_TAIL = 0.5 * (1 - LEVEL)


class Estimate(NamedTuple):
    """A number with the ends of its 95 % interval; NaN where it is not determined."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


class Components(NamedTuple):
    """Standard deviations in the unit of the values."""

    devices: int
    observations: int
    mean: float
    between: Estimate
    within: Estimate
    total: Estimate


def variance_components(values: np.ndarray, use: np.ndarray) -> Components:
    """Between- and within-device standard deviations of values [device, cycle] where ``use`` is true.

    With the means m_d of D devices, n_d cycles each, N in all, and the harmonic mean h of n_d:
    S₁² = h Σ (m_d - m)²/(D - 1), S₂² = Σ (x_dc - m_d)²/(N - D); σ_w² = S₂², σ_b² = (S₁² - S₂²)/h, unbiased, and the
    usual analysis of variance where all n_d are equal (Thomas and Hultquist 1978, doi:10.1214/aos/1176344202).
    A negative σ_b² is reported as 0.

    Intervals: σ_w exact, from χ² with N - D degrees of freedom; σ_b by the modified large-sample method for a
    difference of mean squares (Ting, Burdick, Graybill, Jeyaratnam and Lu 1990, doi:10.1080/00949659008811240); the
    total by the same for a sum (Graybill and Wang 1980, doi:10.1080/01621459.1980.10477565). All three assume normal
    effects: for values that spread over decades use the logarithms.

    One cycle a device: the two cannot be told apart and only the total is known. One device: only ``within``.
    """
    count = use.sum(axis=1)
    x, n = values[count > 0], count[count > 0]
    x = np.where(use[count > 0], x, 0.0)
    devices, observations = n.size, int(n.sum())
    if observations == 0:
        return Components(0, 0, np.nan, UNKNOWN, UNKNOWN, UNKNOWN)
    means = own_means(x, use[count > 0])
    mean = float(x.sum() / observations)
    deviations = np.where(use[count > 0], x - means[:, None], 0.0)
    apart = means - means[0]  # of equal numbers exactly zero, which their mean need not give
    inner, outer = observations - devices, devices - 1
    unknown = Components(devices, observations, mean, UNKNOWN, UNKNOWN, UNKNOWN)
    if inner == 0:
        return unknown._replace(total=_root(_chi_square(float(apart.var(ddof=1)), outer))) if outer else unknown
    s2 = float((deviations**2).sum() / inner)
    within = _root(_chi_square(s2, inner))
    if outer == 0:
        return unknown._replace(within=within)
    h = float(devices / (1.0 / n).sum())
    s1 = h * float(apart.var(ddof=1))
    return unknown._replace(
        between=_root(_difference(s1, s2, h, outer, inner)), within=within, total=_root(_sum(s1, s2, h, outer, inner))
    )


def own_means(x: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Mean of each device over its cycles [device], exactly the value where all its cycles have the same; zero where it
    has none."""
    first = np.take_along_axis(x, use.argmax(axis=1)[:, None], axis=1)
    first = np.where(use.any(axis=1, keepdims=True), first, 0.0)
    total = np.where(use, x - first, 0.0).sum(axis=1)
    return np.asarray(first[:, 0] + total / np.maximum(use.sum(axis=1), 1))


@functools.lru_cache(maxsize=1024)  # a statistic is taken again and again of parts of one population
def _quantiles(freedom: int, other: int = 0) -> tuple[float, float]:
    """The quantiles of χ² at the upper and the lower end of an interval, or with ``other`` those of F."""
    if other:
        return float(special.fdtri(freedom, other, 1 - _TAIL)), float(special.fdtri(freedom, other, _TAIL))
    return float(special.chdtri(freedom, _TAIL)), float(special.chdtri(freedom, 1 - _TAIL))


def _chi_square(variance: float, freedom: int) -> Estimate:
    low, high = _quantiles(freedom)
    return Estimate(variance, variance * freedom / low, variance * freedom / high)


def _limits(freedom: int) -> tuple[float, float]:
    """G and H of Burdick and Graybill: how far, relatively, a mean square may lie above and below its expectation."""
    low, high = (freedom / quantile for quantile in _quantiles(freedom))
    return 1 - low, high - 1


def _difference(s1: float, s2: float, h: float, outer: int, inner: int) -> Estimate:
    (g1, h1), (g2, h2) = _limits(outer), _limits(inner)
    above, below = _quantiles(outer, inner)
    g12 = ((above - 1) ** 2 - (g1 * above) ** 2 - h2**2) / above
    h12 = ((1 - below) ** 2 - (h1 * below) ** 2 - g2**2) / below
    down = (g1 * s1) ** 2 + (h2 * s2) ** 2 + g12 * s1 * s2
    up = (h1 * s1) ** 2 + (g2 * s2) ** 2 + h12 * s1 * s2
    middle = s1 - s2
    return Estimate(middle / h, (middle - max(down, 0.0) ** 0.5) / h, (middle + max(up, 0.0) ** 0.5) / h)


def _sum(s1: float, s2: float, h: float, outer: int, inner: int) -> Estimate:
    (g1, h1), (g2, h2) = _limits(outer), _limits(inner)
    a, b = s1 / h, (1 - 1 / h) * s2
    middle = max(a - s2 / h, 0.0) + s2  # agrees with the two components as they are reported
    return Estimate(middle, a + b - np.hypot(g1 * a, g2 * b), a + b + np.hypot(h1 * a, h2 * b))


def _root(variance: Estimate) -> Estimate:
    return Estimate(*(float(np.sqrt(max(v, 0.0))) for v in variance))
