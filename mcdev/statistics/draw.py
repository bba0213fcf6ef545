"""Drawing devices from a model card."""

from __future__ import annotations

from typing import Any, TextIO

import numpy as np
from scipy import special

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.files.plain_text import CsvWriter
from mcdev.statistics.card import PROBABILITIES, Card, CardPoint, Curve, Quantity, Tabulated
from mcdev.statistics.copula import root

MOST_DEVICES, MOST_NUMBERS = 1_000_000, 20_000_000
"""Limits of one call: devices, and numbers written in all (devices · cycles · quantities · sweep points)."""
_AT_ONCE = 1_000_000
"""Numbers drawn at a time."""
_FURTHEST = 460.0
"""Largest |ln x| of a table's value: 1e±200, as everywhere in a card."""


def check_size(card: Card, devices: int) -> None:
    """Raises ``ConfigError`` where a card cannot be resampled so often."""
    numbers = sum(devices * point.cycles * len(point.quantities) for point in card.points)
    if not 1 <= devices <= MOST_DEVICES:
        raise _too_many(devices, f"expected 1 to {MOST_DEVICES:,} devices")
    if numbers > MOST_NUMBERS:
        most = max(1, MOST_NUMBERS * devices // numbers)
        raise _too_many(devices, f"that is {numbers:,} numbers with this card; expected no more than {most:,} devices")


def _too_many(devices: int, expected: str) -> ConfigError:
    return ConfigError([Problem("--resample", devices, f"{expected}; run it several times with other --seed")], "card")


def resample(point: CardPoint, devices: int, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Quantity → values [device, cycle] of new devices at one sweep point, in the quantity's unit.

    b ~ N(0, R_D2D) for a device, w ~ N(0, R_C2C) for each of its cycles, then :func:`value_of` (a Gaussian copula:
    Nelsen 2006, doi:10.1007/0-387-28678-0). Values lie where the law says, beyond any bound at which observations were
    censored, but never outside the bounds of the quantity.
    """
    names = point.d2d.names
    between = draw.standard_normal((devices, len(names))) @ root(point.d2d.drawn).T if names else None
    within: dict[str, np.ndarray] = {}
    if point.c2c is not None and point.c2c.names:
        numbers = draw.standard_normal((devices, point.cycles, len(point.c2c.names)))
        numbers = numbers @ root(point.c2c.drawn).T
        within = {name: numbers[:, :, i] for i, name in enumerate(point.c2c.names)}
    found = {}
    shape = devices, point.cycles
    for name, quantity in point.quantities.items():
        if quantity.family == "undetermined":
            continue
        if between is not None and quantity.varies:
            values = value_of(quantity, between[:, [names.index(name)]], within.get(name))
        else:
            values = value_of(quantity, np.zeros((1, 1)), None)
        found[name] = np.broadcast_to(values, shape).copy()
    return found


def value_of(q: Quantity, b: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """Values of a quantity from standard normal numbers of devices b [device, 1] and of their cycles w [device, cycle];
    without w what is drawn once a device.

    A law: x = F⁻¹(Φ(z)), z = sqrt(s) b + sqrt(1 - s) w. A table of devices: see :class:`Tabulated`.
    """
    if q.family == "table" and q.table is not None and q.table.spread is not None:
        share = special.ndtr(b)
        deviation: np.ndarray | float = 0.0
        if w is not None:
            normed = w if q.table.deviations is None else at(q.table.deviations, special.ndtr(w))
            deviation = at(q.table.spread, share) * normed
        return _within(q, _around(q.table, share, deviation))
    share = q.device_share if w is not None else 1.0
    z = np.sqrt(share) * b + (np.sqrt(1 - share) * w if w is not None else 0.0)
    return _within(q, _value(q, _cut(z, *q.scores_of_bounds())))


def at(curve: Curve, share: np.ndarray, logarithmic: bool = False) -> np.ndarray:
    """A curve's values at shares, or their logarithms, between which it is linear then."""
    values = np.log(curve.values) if logarithmic else np.array(curve.values)
    return np.interp(share, curve.shares, values)


def _around(table: Tabulated, share: np.ndarray, deviation: np.ndarray | float) -> np.ndarray:
    level = at(table.quantiles, share, table.logarithmic) + deviation
    return np.exp(np.clip(level, -_FURTHEST, _FURTHEST)) if table.logarithmic else level


def _cut(z: np.ndarray, low: float, high: float) -> np.ndarray:
    """Standard normal numbers of a law that is cut at two of its normal scores and renormalised."""
    if np.isinf(low) and np.isinf(high):
        return z
    if low > 0:  # of the upper tail the digits are in the other one
        return -_cut(-z, -high, -low)
    below, above = special.ndtr(low), special.ndtr(high)
    return np.clip(special.ndtri(below + special.ndtr(z) * (above - below)), low, high)


def _within(q: Quantity, values: np.ndarray) -> np.ndarray:
    """The values; any that rounding, or a sum of two tables, put outside the bounds at the nearest value inside."""
    inside = q.support.holds(values)
    if inside.all():
        return values
    low, high = q.support.ends
    if q.table is not None:
        low, high = q.table.quantiles.values[0], q.table.quantiles.values[-1]
    else:
        low = np.nextafter(low, np.inf) if low == q.greater_than else low
        high = np.nextafter(high, -np.inf) if high == q.less_than else high
    return np.where(inside, values, np.clip(values, low, high))


def _value(q: Quantity, z: np.ndarray) -> np.ndarray:
    """F⁻¹(Φ(z)). Logarithms of both tails, so that none of it is lost to rounding."""
    if q.family == "lognormal" and q.lognormal:
        return q.lognormal.median * np.exp(q.lognormal.sigma * z)
    if q.family == "weibull" and q.weibull:
        return q.weibull.scale * (-special.log_ndtr(-z)) ** (1 / q.weibull.shape)
    if q.family == "normal" and q.normal:
        return q.normal.mean + q.normal.sd * z
    if q.family == "table" and q.table:
        return _around(q.table, special.ndtr(z), 0.0)
    if q.family == "quantiles" and q.quantiles:
        return np.interp(special.ndtr(z), PROBABILITIES, q.quantiles)
    return np.full(z.shape, q.constant if q.constant is not None else np.nan)


def write_devices(card: Card, devices: int, seed: int, file: TextIO) -> None:
    """Draw devices at every sweep point and write them as CSV: a column an axis of the sweep, ``device``, ``cycle``,
    and a column a quantity, with its unit, (1) for a pure number. The same seed gives the same devices. Raises
    ``ConfigError`` if too many."""
    check_size(card, devices)
    axes = list(dict.fromkeys(axis for point in card.points for axis in point.point))
    units = {
        name: q.unit for point in card.points for name, q in point.quantities.items() if q.family != "undetermined"
    }
    writer = CsvWriter(file)
    headings = [f"{name} ({unit})" for name, unit in units.items()]  # no axis of the sweep is called so
    writer.row([*axes, "device", "cycle", *headings])
    for index, point in enumerate(card.points):
        draw = np.random.default_rng([seed, index])
        label = [point.point.get(axis, "") for axis in axes]
        at_once = max(1, _AT_ONCE // (point.cycles * max(len(point.quantities), 1)))
        for first in range(0, devices, at_once):
            count = min(at_once, devices - first)
            drawn = resample(point, count, draw)
            columns = [
                drawn[name].ravel().tolist() if name in drawn else [""] * (count * point.cycles) for name in units
            ]
            each: Any = zip(*columns, strict=True) if columns else [()] * (count * point.cycles)
            for row, numbers in enumerate(each):
                writer.row([*label, first + row // point.cycles, row % point.cycles, *numbers])
