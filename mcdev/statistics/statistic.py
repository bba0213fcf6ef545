"""One statistic of a population: a number of values [device, cycle] of which some may be bounds."""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

from mcdev.configuration.address import Statistic
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.statistics.components import own_means, variance_components
from mcdev.statistics.correlation import product
from mcdev.statistics.mixed import censored_components

_AMONG_BOUNDS = 0.01  # weight of a quantile that may fall on bounds


def statistic(
    name: Statistic,
    values: np.ndarray,
    status: np.ndarray,
    level: float | None = None,
    other: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """Of values with their status, both [device, cycle], in the unit of the values; NaN where it is not determined.

    - mean: over the uncensored
    - median, quantile (``level``): over all known, by Harrell and Davis (:func:`_quantile`)
    - sigma_ln_between, sigma_ln_within, sigma_ln_total: of ln x; :func:`variance_components`, or with bounds among
      several cycles :func:`censored_components`
    - sd_between, sd_within, sd_total: :func:`variance_components` of x itself; not determined where there are bounds
    - correlation: Pearson's of the devices' means with those of ``other`` (values, status), of ln x where all are
      positive
    - censored_share: of all that is known
    """
    fine = (status == OK) & np.isfinite(values)
    bounds = np.isin(status, (RIGHT_CENSORED, LEFT_CENSORED))
    if name == "mean":
        return float(values[fine].mean()) if fine.any() else float("nan")
    if name in ("median", "quantile"):
        return _quantile(values, status, fine, bounds, 0.5 if level is None else level)
    if name == "censored_share":
        known = int(fine.sum() + bounds.sum())
        return float(bounds.sum() / known) if known else float("nan")
    if name == "correlation":
        assert other is not None
        return _correlation(values, fine, other[0], (other[1] == OK) & np.isfinite(other[0]))
    if name.startswith("sd_"):
        found = None if bounds.any() else variance_components(np.where(fine, values, 0.0), fine)
        return float(getattr(found, name.removeprefix("sd_")).value) if found else float("nan")
    if not fine.any() or not (values[fine] > 0).all():
        return float("nan")
    if bounds.any():
        by_likelihood = censored_components(values, status) if values.shape[1] > 1 else None
        components = by_likelihood
    else:
        components = variance_components(np.log(np.where(fine, values, 1.0)), fine)
    return float(getattr(components, name.removeprefix("sigma_ln_")).value) if components else float("nan")


def _quantile(values: np.ndarray, status: np.ndarray, fine: np.ndarray, bounds: np.ndarray, level: float) -> float:
    """Σ w_i x_(i), with w_i the probability of ((i - 1)/n, i/n) under Beta((n + 1) p, (n + 1)(1 - p)) (Harrell and
    Davis 1982, doi:10.1093/biomet/69.3.635): all observations near the quantile take part, so that its derivative by
    the law's parameters is not that of a single device. Bounds lie at the end they belong to; NaN where more than 1 %
    of the weight falls on them."""
    lowest = np.sort(values[fine])
    left, right = int((status == LEFT_CENSORED).sum()), int((status == RIGHT_CENSORED).sum())
    count = left + lowest.size + right
    if not lowest.size:
        return float("nan")
    weights = _weights(count, level)[left : left + lowest.size]
    total = float(weights.sum())
    return float(weights @ lowest / total) if total > 1 - _AMONG_BOUNDS else float("nan")


@functools.lru_cache(maxsize=64)
def _weights(count: int, level: float) -> np.ndarray:
    edges = np.linspace(0.0, 1.0, count + 1)
    return np.diff(special.betainc((count + 1) * level, (count + 1) * (1 - level), edges))


def _correlation(x: np.ndarray, x_fine: np.ndarray, y: np.ndarray, y_fine: np.ndarray) -> float:
    means = []
    for values, fine in ((x, x_fine), (y, y_fine)):
        positive = fine.any() and (values[fine] > 0).all()
        even = np.log(np.where(fine, values, 1.0)) if positive else np.where(fine, values, 0.0)
        means.append(np.where(fine.any(axis=1), own_means(even, fine), np.nan))
    both = np.isfinite(means[0]) & np.isfinite(means[1])
    return product(means[0][both], means[1][both]) if both.sum() > 2 else float("nan")
