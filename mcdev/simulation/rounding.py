"""What arithmetic alone makes different: numbers that agree within it are shown as the same."""

from __future__ import annotations

import numpy as np

_ULPS = 8


def rounding(precision: str = "float64") -> float:
    """Relative difference of two numbers that only the order of sums may have made: eight units in the last place."""
    return _ULPS * float(np.finfo(precision).eps)


def settled(values: np.ndarray, use: np.ndarray, precision: str) -> np.ndarray:
    """Values [device, cycle] in which those that differ by no more than rounding are the same: all cycles of a device,
    and all devices. Where ``use`` is false nothing changes."""
    limit = rounding(precision)
    found = values
    for axis in (1, None):
        low = np.where(use, found, np.inf).min(axis=axis, keepdims=True, initial=np.inf)
        high = np.where(use, found, -np.inf).max(axis=axis, keepdims=True, initial=-np.inf)
        with np.errstate(invalid="ignore"):  # where nothing is used the ends are infinite
            alike = high - low <= limit * np.maximum(np.abs(low), np.abs(high))
        found = np.where(use & alike, low, found)
    return found


def resolved(error: float, value: float, precision: str = "float64") -> float:
    """The error of a value, or zero where it is no more than rounding."""
    return 0.0 if abs(error) <= rounding(precision) * abs(value) else error
