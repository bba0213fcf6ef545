"""Quantiles with intervals from resampled devices: all cycles of a device come along, so they never count as
independent."""

from __future__ import annotations

import functools

import numpy as np

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.statistics.components import UNKNOWN, Estimate

_RESAMPLES, _FEWEST, _DRAWS = 400, 100, 4_000_000
_SEED = 20170927


@functools.lru_cache(maxsize=4)
def device_weights(devices: int) -> np.ndarray:
    """How often each device was drawn, [resample, device]: the same resamples for every measurement, fixed seed.
    400 resamples up to 10,000 devices, then fewer, but never below 100."""
    count = int(np.clip(_DRAWS // max(devices, 1), _FEWEST, _RESAMPLES))
    draw = np.random.default_rng(_SEED)
    return draw.multinomial(devices, np.full(devices, 1.0 / devices), size=count).astype(np.int32)


def quantiles(values: np.ndarray, status: np.ndarray, shares: tuple[float, ...]) -> list[Estimate]:
    """Quantiles of values [device, cycle] over all known observations, with 95 % percentile intervals of the
    bootstrap over devices (Efron 1979, doi:10.1214/aos/1176344552; whole clusters are resampled, Field and Welsh
    2007, doi:10.1111/j.1467-9868.2007.00593.x). The quantile is an observation (numpy's closest_observation).

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
    weights = device_weights(values.shape[0]) if np.unique(device).size > 1 else None
    if weights is None:
        return [Estimate(value, np.nan, np.nan) for value in central]
    reached = np.cumsum(weights[:, device], axis=1)  # [resample, observation]
    reached = reached[reached[:, -1] > 0]
    found = []
    for share, value in zip(shares, central, strict=True):
        at = (reached >= share * reached[:, -1:]).argmax(axis=1)
        ends = np.sort(flat[at])
        low, high = ends[int(0.025 * ends.size)], ends[int(np.ceil(0.975 * ends.size)) - 1]
        found.append(Estimate(value, float(low), float(high)))
    return found
