"""An instrument's noise: a floor, and a share of the reading."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_LEAST = 30
"""Rows from which the noise is estimated."""


class Noise(NamedTuple):
    """Standard deviation of a reading I: floor + share · |I|."""

    floor: float
    """In the reading's unit."""
    share: float

    def of(self, current: np.ndarray) -> np.ndarray:
        """Of each reading."""
        return self.floor + self.share * np.abs(current)


def estimated(current: np.ndarray, cycles: list[slice]) -> Noise | None:
    """From the second differences of neighbouring readings, whose standard deviation is √6 times that of one where
    the course is straight over three rows; None of too few rows, or where the readings do not scatter. Where the
    course bends it comes out too large."""
    levels, sizes = [], []
    for cycle in cycles:
        own = current[cycle]
        own = own[np.isfinite(own)]
        if own.size >= 3:
            levels.append(np.abs(own[1:-1]))
            sizes.append(np.abs(own[2:] - 2 * own[1:-1] + own[:-2]) / np.sqrt(6))
    level, size = (np.concatenate(x) if x else np.empty(0) for x in (levels, sizes))
    if level.size < _LEAST:
        return None
    order = np.argsort(level)
    parts = [part for part in np.array_split(order, 10) if part.size]
    at = np.array([np.median(level[part]) for part in parts])
    sd = np.array([np.median(size[part]) for part in parts]) / 0.6745  # the median of |z| of a normal law
    floor = float(sd.min())
    if not floor > 0:
        return None
    over = np.clip(sd - floor, 0.0, None)
    share = float(np.median((over / np.where(at > 0, at, np.inf))[len(parts) // 2 :]))
    return Noise(floor, share)
