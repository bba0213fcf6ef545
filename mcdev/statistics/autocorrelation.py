"""Whether a cycle of a device remembers the one before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SHOWN = 10
_EXACT = 200
"""Cycles up to which the band is worth its matrices."""


class Autocorrelation(NamedTuple):
    """Over cycles, pooled over devices."""

    lags: np.ndarray
    """1 …, in cycles."""
    values: np.ndarray
    band: np.ndarray
    """Half-width of the interval in which 95 % lie where cycles are independent (white noise)."""
    devices: int


def autocorrelation(values: np.ndarray, use: np.ndarray, most: int = _SHOWN) -> Autocorrelation | None:
    """Autocorrelation of values [device, cycle] over cycles, of the devices that have a value in each of C cycles.

    With the deviations d_c from a device's own mean and s² = Σ d²/(D (C - 1)):
    r_k = Σ d_c d_{c+k}/(D (C - k) s²) + 1/C. The last term undoes what the subtracted mean does to independent
    cycles (<d_c d_{c'}> = -σ²/C), which matters where cycles are few (Kendall 1954, doi:10.1093/biomet/41.3-4.403).
    The band is ±1.96 standard deviations of r_k for independent normal cycles, by the delta method from the traces of
    the quadratic forms; for many cycles it is ±1.96/sqrt(D (C - k)) (Bartlett 1946, doi:10.2307/2983611).

    None with fewer than three cycles (of two, r_1 says nothing), without complete devices or without any spread.
    """
    whole = values[use.all(axis=1)]
    devices, cycles = whole.shape
    if cycles < 3 or devices < 1:
        return None
    d = whole - whole.mean(axis=1, keepdims=True)
    variance = float((d**2).sum() / (devices * (cycles - 1)))
    if not variance > (1e-12 * np.abs(whole).max()) ** 2:
        return None
    lags = np.arange(1, min(cycles, most + 1))
    found, band = [], []
    for lag in lags:
        pairs = devices * (cycles - lag)
        found.append((d[:, lag:] * d[:, :-lag]).sum() / (pairs * variance) + 1.0 / cycles)
        band.append(_half_width(devices, cycles, int(lag)))
    return Autocorrelation(lags, np.array(found), np.array(band), devices)


def _half_width(devices: int, cycles: int, lag: int) -> float:
    pairs = devices * (cycles - lag)
    if cycles > _EXACT:
        return float(1.96 / np.sqrt(pairs))
    centre = np.eye(cycles) - 1.0 / cycles
    shift = 0.5 * (np.eye(cycles, k=lag) + np.eye(cycles, k=-lag))
    ratio = np.trace(centre @ shift) / (cycles - 1)
    form = centre @ (shift - ratio * np.eye(cycles)) @ centre
    return float(1.96 * np.sqrt(2 * devices * np.trace(form @ form)) / pairs)
