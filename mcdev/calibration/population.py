"""A statistic of the simulated population: its value, errors and derivatives.

The ensemble is devices through cycles. Its derivative by a parameter is that of the same statistic along the way that
every realisation goes: realisations move with the parameter while the uniform numbers that they are drawn from are
held (``places.py``). Where realisations have exact derivatives they are moved along these by a part in 1e5; else they
are those of the two ensembles of a difference.

Errors come from leaving out one group of devices after the other (``jackknife.py``). The same gives what the statistic
would scatter by if so few devices were measured as a real population has: the variance of a statistic of n devices goes
as 1/n, so that of D devices it is that of the ensemble times n/D.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mcdev.calibration.reading import Lanes, Reading
from mcdev.configuration.address import Address
from mcdev.measurements.contract import LEFT_CENSORED, RIGHT_CENSORED
from mcdev.simulation.jackknife import standard_error
from mcdev.statistics.statistic import statistic

_GROUPS, _FEWER = 64, 16
"""Of devices that are left out in turn; fewer where a statistic is itself found by a search (censored spreads)."""


class Number(NamedTuple):
    """One statistic, SI."""

    value: float
    error: float
    slope: dict[str, float]
    """By key path."""
    slope_error: dict[str, float]
    method: str
    replicates: np.ndarray | None
    """[1 + group]"""
    scatter: np.ndarray | None = None
    """[group]: deviations whose products sum to covariances of one device; divided by D, of D devices."""


def number(reading: Reading, read: Address) -> Number:
    """What stands for the ensemble in one reading, with its derivatives."""
    name = read.measurement
    here = _chosen(reading.lanes, read)
    groups = _groups(here)
    value = replicates = _replicates(here, read, groups)
    count = here[0].values.shape[0]
    away = replicates[1:] - replicates[1:].mean() if replicates.size > 2 else np.empty(0)
    factor = np.sqrt(count * (away.size - 1) / away.size) if away.size else 0.0
    slope, slope_error = {}, {}
    names = [name, *([read.partner[0]] if read.other is not None else [])]
    for i, path in enumerate(reading.paths if all(one in reading.ends for one in names) else ()):
        ends, *others = (reading.ends[one][i] for one in names)
        low = _chosen(ends.low | {key: lanes for end in others for key, lanes in end.low.items()}, read)
        high = _chosen(ends.high | {key: lanes for end in others for key, lanes in end.high.items()}, read)
        if ends.exact:
            alone = np.ones((1, count), bool)
            below, above = (_replicates(end, read, alone)[0] for end in (low, high))
            slope[path], slope_error[path] = float((above - below) / (ends.at[2] - ends.at[0])), 0.0
        else:
            found = slope_between(ends.at, _replicates(low, read, groups), value, _replicates(high, read, groups))
            slope[path], slope_error[path] = float(found[0]), float(standard_error(found))
    return Number(
        float(replicates[0]),
        float(standard_error(replicates)),
        slope,
        slope_error,
        reading.how.get(name, ""),
        replicates if replicates.size > 2 else None,
        factor * away if away.size else None,
    )


def _chosen(lanes: dict[str, Lanes], read: Address) -> tuple[Lanes, ...]:
    """The measurement, and the other one of a correlation, as [device, cycle]."""
    both = [(read.measurement, read.entry)] + ([read.partner] if read.other is not None else [])
    found = []
    for name, entry in both:
        values, status = lanes[name]
        if values.ndim == 3:
            values, status = values[..., (entry or 1) - 1], status[..., (entry or 1) - 1]
        found.append(Lanes(values, status))
    return tuple(found)


def _groups(lanes: tuple[Lanes, ...]) -> np.ndarray:
    """[1 + group, device]: all devices, then all but one group after the other. Groups are drawn, because neighbours of
    a sequence that fills evenly are alike in a pattern."""
    devices = lanes[0].values.shape[0]
    if devices < 3:
        return np.ones((1, devices), bool)
    searched = np.isin(lanes[0].status, (RIGHT_CENSORED, LEFT_CENSORED)).any() and lanes[0].values.shape[1] > 1
    groups = min(devices, _FEWER if searched else _GROUPS)
    member = np.random.default_rng(devices).permutation(devices) % groups
    return np.stack([np.ones(devices, bool), *(member != group for group in range(groups))])


def _replicates(lanes: tuple[Lanes, ...], read: Address, groups: np.ndarray) -> np.ndarray:
    found = []
    for kept in groups:
        (values, status), *rest = ((one.values[kept], one.status[kept]) for one in lanes)
        found.append(statistic(read.statistic, values, status, read.level, rest[0] if rest else None))
    return np.array(found)


def slope_between(at: tuple[float, float, float], low: np.ndarray, here: np.ndarray, high: np.ndarray) -> np.ndarray:
    """d(number)/d(parameter) across the interval, from one side where the other has no number; NaN where neither has.

    d ln y/d ln p · y/p where parameter and numbers are positive, else dy/dp.
    """
    first = np.where(np.isfinite(low), low, here)
    last = np.where(np.isfinite(high), high, here)
    begin = np.where(np.isfinite(low), at[0], at[1])
    end = np.where(np.isfinite(high), at[2], at[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        straight = (last - first) / (end - begin)
        if at[0] <= 0:
            return np.asarray(straight)
        middle = np.where(np.isfinite(here), here, np.sqrt(first * last))
        curved = middle / at[1] * np.log(last / first) / np.log(end / begin)
        return np.where((first > 0) & (last > 0) & (middle > 0), curved, straight)
