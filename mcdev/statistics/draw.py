"""Drawing devices from a model card."""

from __future__ import annotations

from typing import Any, TextIO

import numpy as np
from scipy import special

from mcdev.plain_text import CsvWriter
from mcdev.problems import ConfigError, Problem
from mcdev.statistics.card import PROBABILITIES, Card, CardPoint, Quantity
from mcdev.statistics.copula import root

MOST_DEVICES, MOST_NUMBERS = 1_000_000, 20_000_000
"""Limits of one call: devices, and numbers written in all (devices · cycles · quantities · sweep points)."""
_AT_ONCE = 1_000_000
"""Numbers drawn at a time."""


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

    z_dc = sqrt(s) b_d + sqrt(1 - s) w_dc with b ~ N(0, R_D2D), w ~ N(0, R_C2C); x = F⁻¹(Φ(z)) (Nelsen 2006,
    doi:10.1007/0-387-28678-0). Values lie where the law says, beyond any bound at which observations were censored.
    """
    names = point.d2d.names
    between = draw.standard_normal((devices, len(names))) @ root(np.array(point.d2d.matrix)).T if names else None
    within: dict[str, np.ndarray] = {}
    if point.c2c is not None and point.c2c.names:
        numbers = draw.standard_normal((devices, point.cycles, len(point.c2c.names)))
        numbers = numbers @ root(np.array(point.c2c.matrix)).T
        within = {name: numbers[:, :, i] for i, name in enumerate(point.c2c.names)}
    found = {}
    for name, quantity in point.quantities.items():
        if quantity.family == "undetermined":
            continue
        z = np.zeros((devices, point.cycles))
        if between is not None and quantity.varies:
            share = quantity.device_share if name in within else 1.0
            own = within.get(name, 0.0)
            z = np.sqrt(share) * between[:, [names.index(name)]] + np.sqrt(1 - share) * own + z
        found[name] = _value(quantity, z)
    return found


def _value(q: Quantity, z: np.ndarray) -> np.ndarray:
    """F⁻¹(Φ(z)). Logarithms of both tails, so that none of it is lost to rounding."""
    if q.family == "lognormal" and q.lognormal:
        return q.lognormal.median * np.exp(q.lognormal.sigma * z)
    if q.family == "weibull" and q.weibull:
        return q.weibull.scale * (-special.log_ndtr(-z)) ** (1 / q.weibull.shape)
    if q.family == "normal" and q.normal:
        return q.normal.mean + q.normal.sd * z
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
