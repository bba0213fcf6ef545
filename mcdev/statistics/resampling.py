"""Quantiles with intervals from resampled devices: all cycles of a device come along, so they never count as
independent."""

from __future__ import annotations

import functools

import numpy as np

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.statistics.components import UNKNOWN, Estimate

_RESAMPLES = 400
MOST_RESAMPLED = 2000
"""Devices up to which the bootstrap is worth its time."""
_SEED = 20170927


@functools.lru_cache(maxsize=4)
def device_weights(devices: int) -> np.ndarray:
    """How often each device was drawn, [device, resample]: the same resamples for every measurement, fixed seed."""
    draw = np.random.default_rng(_SEED)
    drawn = draw.multinomial(devices, np.full(devices, 1.0 / devices), size=_RESAMPLES)
    return np.ascontiguousarray(drawn.T, np.int32)


def quantiles(values: np.ndarray, status: np.ndarray, shares: tuple[float, ...]) -> list[Estimate]:
    """Quantiles of values [device, cycle] over all known observations, with 95 % percentile intervals of the
    bootstrap over devices (Efron 1979, doi:10.1214/aos/1176344552; whole clusters are resampled, Field and Welsh
    2007, doi:10.1111/j.1467-9868.2007.00593.x). With more than 2000 devices its limit is taken instead: the quantiles
    at p ± 1.96 s with the standard error s of the share p that lies below, over devices (Woodruff 1952,
    doi:10.1080/01621459.1952.10483443). The quantile is an observation (numpy's closest_observation).

    Censored observations lie at the end they belong to; a quantile, or an end of its interval, that falls among
    them is ±infinity. One device: no interval (NaN).
    """
    censored = (status == RIGHT_CENSORED) | (status == LEFT_CENSORED)
    line = np.where(status == RIGHT_CENSORED, np.inf, np.where(status == LEFT_CENSORED, -np.inf, values))
    known = censored | ((status == OK) & np.isfinite(values))
    device, _ = np.nonzero(known)
    flat = line[known]
    if not flat.size:
        return [UNKNOWN] * len(shares)
    order = np.argsort(flat, kind="stable")
    flat, device = flat[order], device[order]
    central = [float(np.quantile(flat, share, method="closest_observation")) for share in shares]
    if np.unique(device).size < 2:
        return [Estimate(value, np.nan, np.nan) for value in central]
    ends = _bootstrap if values.shape[0] <= MOST_RESAMPLED else _woodruff
    limits = ends(flat, device, values.shape[0], shares)
    return [Estimate(value, *limit) for value, limit in zip(central, limits, strict=True)]


def _bootstrap(
    flat: np.ndarray, device: np.ndarray, devices: int, shares: tuple[float, ...]
) -> list[tuple[float, float]]:
    """Ends of the intervals from values in rising order, and which device each is of."""
    reached = np.cumsum(device_weights(devices)[device], axis=0, dtype=np.int32)  # [observation, resample]
    reached = reached[:, reached[-1] > 0]
    found = []
    for share in shares:
        ends = np.sort(flat[np.count_nonzero(reached < share * reached[-1], axis=0)])
        found.append((float(ends[int(0.025 * ends.size)]), float(ends[int(np.ceil(0.975 * ends.size)) - 1])))
    return found


def _woodruff(
    flat: np.ndarray, device: np.ndarray, devices: int, shares: tuple[float, ...]
) -> list[tuple[float, float]]:
    """The same, from the scatter over devices of how many of their values lie below the quantile."""
    found, count = [], np.bincount(device, minlength=devices)
    for share in shares:
        rank = min(int(np.ceil(share * flat.size)), flat.size)
        below = np.bincount(device[:rank], minlength=devices) - share * count
        error = np.sqrt((below**2).sum()) / flat.size
        ends = np.clip(np.array([share - 1.96 * error, share + 1.96 * error]) * flat.size, 0, flat.size - 1)
        found.append((float(flat[int(ends[0])]), float(flat[int(np.ceil(ends[1]))])))
    return found
