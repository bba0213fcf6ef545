"""Laws as tables for the model card: quantiles with few knots, of values or of devices and their cycles."""

from __future__ import annotations

import numpy as np
from scipy import special

from mcdev.statistics.card import Curve, Tabulated
from mcdev.statistics.censored import LILLIEFORS, law_distance
from mcdev.statistics.components import Components
from mcdev.statistics.readings import Reading

_KNOTS, _MISS, _STEP = 25, 0.02, 0.3
"""Of a curve: most knots; the miss, over the standard deviation, at which no more are added; what counts as a step."""
_SORTED = 2000
_LARGEST = 1e150
_NEIGHBOURS, _UNEQUAL, _SURE = 20, 0.3, 5.0
"""The spread of devices is that of a twentieth of them, those of nearest level; differences of less than 30 %, or of
five standard errors, are none."""


def of_values(reading: Reading, total: float) -> Tabulated:
    """Quantiles of all observations, with their mean and this standard deviation."""
    x = np.sort(reading.even[reading.fine])
    shares, values = _quantiles(x)
    values = _with_moments(shares, values, float(x.mean()), total)
    return Tabulated(of="values", logarithmic=reading.positive, quantiles=_in_unit(reading, shares, values))


def of_devices(reading: Reading, found: Components) -> Tabulated:
    """Quantiles of the devices' levels, of the cycles' deviations from them, and how large those are at each level.

    The levels are the devices' means, drawn together around their mean so that their standard deviation is σ_b, without
    what is left in a mean of the cycles' (Louis 1984, doi:10.1080/01621459.1984.10478062). A deviation d of one of n
    cycles from their mean counts d sqrt(n/(n - 1)). Pooled, they have the standard deviation σ_w.
    """
    fine, count = reading.fine, reading.fine.sum(axis=1)
    x, use, n = reading.even[count > 0], fine[count > 0], count[count > 0]
    means = np.where(use, x, 0.0).sum(axis=1) / n
    order = np.argsort(means, kind="stable")
    x, use, n, means = x[order], use[order], n[order], means[order]
    shares, levels = _quantiles(means)
    levels = _with_moments(shares, levels, float(means.mean()), found.between.value)
    scale = np.sqrt(n / np.maximum(n - 1, 1))
    deviations = np.where(use & (n > 1)[:, None], (x - means[:, None]) * scale[:, None], np.nan)
    spread_shares, spread, each = _spread(deviations, found.within.value)
    normed = np.sort((deviations / each[:, None])[np.isfinite(deviations)])
    curve = None
    if not law_distance(normed, special.ndtr) < LILLIEFORS / np.sqrt(n.size):
        d_shares, d = _quantiles(normed)
        d = np.clip(_with_moments(d_shares, d, 0.0, 1.0), -1e6, 1e6)
        curve = Curve(shares=d_shares.tolist(), values=d.tolist())
    return Tabulated(
        of="devices",
        logarithmic=reading.positive,
        quantiles=_in_unit(reading, shares, levels),
        deviations=curve,
        spread=Curve(shares=spread_shares.tolist(), values=np.minimum(spread, _LARGEST).tolist()),
    )


def _spread(deviations: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard deviation of the cycles against the share of devices below a level, as knots whose mean square is that
    of ``within``; and of each device. One number where devices do not differ in it by more than chance."""
    known = np.isfinite(deviations)
    devices = known.shape[0]
    square, freedom = np.where(known, deviations**2, 0.0).sum(axis=1), known.sum(axis=1).astype(float)
    reach = max(2, devices // (2 * _NEIGHBOURS))
    low, high = np.maximum(np.arange(devices) - reach, 0), np.minimum(np.arange(devices) + reach + 1, devices)

    def over(x: np.ndarray) -> np.ndarray:
        total = np.append(0.0, np.cumsum(x))
        return total[high] - total[low]

    local = np.sqrt(over(square) / np.maximum(over(freedom), 1.0))
    overall = np.sqrt(square.sum() / max(freedom.sum(), 1.0))
    same = np.array([0.0, 1.0]), np.array([within, within]), np.full(devices, overall or 1.0)
    if not (local > 0).all():
        return same
    chance = _SURE / np.sqrt(2.0 * np.maximum(over(freedom), 1.0))
    if not (np.abs(np.log(local / overall)) > np.maximum(_UNEQUAL, chance)).any():
        return same
    where = (np.arange(devices) + 0.5) / devices
    shares, values = _few(np.append(np.append(0.0, where), 1.0), local[np.r_[0, 0:devices, -1]], 5 * _MISS * overall)
    mean, sd = _moments(shares, values)
    return shares, values * within / np.hypot(mean, sd), np.interp(where, shares, values)


def _quantiles(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of the quantile function of sorted values: the i-th of n stands at (i - 1/2)/n, with a step between two
    that are far apart."""
    n, sd = ordered.size, float(ordered.std())
    where = (np.arange(n) + 0.5) / n
    far = np.nonzero(np.diff(ordered) > _STEP * sd)[0]
    far = far if far.size <= _KNOTS // 3 else far[np.argsort(np.diff(ordered)[far])[-(_KNOTS // 3) :]]
    kept = np.arange(n)
    if n > _SORTED:
        kept = np.unique(np.concatenate([np.linspace(0, n - 1, _SORTED).round().astype(int), far, far + 1]))
    steps = np.sort(far)
    shares = np.concatenate([[0.0], where[kept], (steps + 1) / n, (steps + 1) / n, [1.0]])
    values = np.concatenate([ordered[:1], ordered[kept], ordered[steps], ordered[steps + 1], ordered[-1:]])
    order = np.lexsort((values, shares))
    return _few(shares[order], values[order], _MISS * sd)


def _few(shares: np.ndarray, values: np.ndarray, miss: float) -> tuple[np.ndarray, np.ndarray]:
    """Few of many knots: from both ends on, the one that the line misses by most is added (Douglas and Peucker 1973,
    doi:10.3138/FM57-6770-U75U-7727, across instead of perpendicular to the line)."""
    kept = np.array([0, shares.size - 1])
    while kept.size < _KNOTS:
        off = np.abs(_line(shares, shares[kept], values[kept], kept) - values)
        off[kept] = 0.0
        worst = int(np.argmax(off))
        if not off[worst] > miss:
            break
        kept = np.sort(np.append(kept, worst))
    return shares[kept], values[kept]


def _line(x: np.ndarray, knots: np.ndarray, values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The line between knots, at all points; by their number, so that both sides of a step are known."""
    segment = np.clip(np.searchsorted(index, np.arange(x.size), side="right") - 1, 0, index.size - 2)
    width = knots[segment + 1] - knots[segment]
    part = np.divide(x - knots[segment], width, out=np.zeros(x.size), where=width > 0)
    return values[segment] + part * (values[segment + 1] - values[segment])


def _moments(shares: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what a curve draws."""
    width, a, b = np.diff(shares), values[:-1], values[1:]
    mean = float((width * 0.5 * (a + b)).sum())
    a, b = a - mean, b - mean
    return mean, float(np.sqrt((width * (a * a + a * b + b * b) / 3).sum()))


def _with_moments(shares: np.ndarray, values: np.ndarray, mean: float, sd: float) -> np.ndarray:
    """The curve moved and stretched so that what it draws has this mean and standard deviation."""
    if not np.isfinite(sd):
        return values
    middle, found = _moments(shares, values)
    return mean + (values - middle) * (sd / found if found > 0 else 0.0)


def _in_unit(reading: Reading, shares: np.ndarray, values: np.ndarray) -> Curve:
    """The curve in the quantity's unit, within its bounds."""
    seen = reading.values[reading.fine]
    if reading.positive:
        values = np.exp(np.clip(values, -np.log(_LARGEST), np.log(_LARGEST)))
    values = np.clip(values, -_LARGEST, _LARGEST)
    values = np.where(reading.support.holds(values), values, np.clip(values, seen.min(), seen.max()))
    return Curve(shares=shares.tolist(), values=np.maximum.accumulate(values).tolist())
