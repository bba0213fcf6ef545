"""How far measured and simulated current of a curve may lie apart, where devices move by themselves.

The trace of one device that moves thermally, or whose parameters are drawn, is one draw of many. With C the covariance
of the current between times, over the devices of an ensemble (autocorrelation included), the difference to the
simulated mean has

    Σ = noise² 1 + C/n + C/R           n devices in the file's mean (``mean_of``), R in the simulated one

A fit weights the difference r with W: it ends where Jᵀ W r = 0. W is the inverse of Σ with correlations ρ shrunk to
(1 - λ) ρ + λ 1: an ensemble's smallest eigenvalues are the worst known, and an inverse is made of them. Any W gives a
consistent estimate; what W is not, the errors count, by Σ itself (`uncertainty.py`; Godambe 1960,
doi:10.1214/aoms/1177705693, and Liang and Zeger 1986, doi:10.1093/biomet/73.1.13). No law of the traces is assumed:
one that switches at a random moment is far from Gaussian.

Long traces enter as means of neighbouring samples, few enough for their covariance to be held.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from mcdev.calibration.curves import Trace

MOST = 400
"""Numbers that a trace of a device that moves is reduced to, at most."""
_SHRINK = 0.3  # λ


def _edges(trace: Trace) -> np.ndarray:
    """Where each number begins, counted in recorded samples, and the end."""
    seen = int(np.isfinite(trace.current).sum())
    return np.linspace(0, seen, min(seen, MOST) + 1).round().astype(int)


def reduced(trace: Trace, series: np.ndarray) -> np.ndarray:
    """[..., number] of [..., sample]: means of neighbouring recorded samples, or the samples where they are few."""
    edges = _edges(trace)
    own = series[..., np.isfinite(trace.current)]
    return own if edges.size == own.shape[-1] + 1 else np.add.reduceat(own, edges[:-1], axis=-1) / np.diff(edges)


def spread_out(trace: Trace, numbers: np.ndarray) -> np.ndarray:
    """[sample] of [number]: each for the samples that it is the mean of; NaN where nothing was recorded."""
    found = np.full(trace.current.size, np.nan)
    found[np.isfinite(trace.current)] = np.repeat(numbers, np.diff(_edges(trace)))
    return found


def noise(trace: Trace) -> np.ndarray:
    """Standard deviation of the instrument's noise in each number."""
    edges, own = _edges(trace), trace.noise[np.isfinite(trace.current)]
    return np.asarray(np.sqrt(np.add.reduceat(own**2, edges[:-1])) / np.diff(edges))


def _away(courses: np.ndarray) -> np.ndarray:
    """[realisation, number], the mean square of which is the variance."""
    count = courses.shape[0]
    wide = courses.astype(np.float64)
    return np.asarray((wide - wide.mean(axis=0)) * np.sqrt(count / (count - 1)))


def covariance(trace: Trace, courses: np.ndarray, simulated: int) -> np.ndarray:
    """Σ [number, number], of ``simulated`` devices in the simulated mean."""
    away = _away(courses)
    motion = away.T @ away / away.shape[0]
    return np.asarray(np.diag(noise(trace) ** 2) + motion * (1.0 / trace.mean_of + 1.0 / simulated))


def root(trace: Trace, courses: np.ndarray) -> np.ndarray | None:
    """Lower triangle K of W = (K Kᵀ)⁻¹; None of devices that are alike, where W is the instrument's alone."""
    count = courses.shape[0]
    if count < 2:
        return None
    total = covariance(trace, courses, count)
    sd = np.sqrt(np.diag(total))
    shrunk = (1.0 - _SHRINK) * total / np.outer(sd, sd) + _SHRINK * np.eye(sd.size)
    return np.asarray(sd[:, None] * np.linalg.cholesky(shrunk))


def whitened(k: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """K⁻¹ x of each column."""
    return np.asarray(solve_triangular(k, columns, lower=True))


def draws(trace: Trace, courses: np.ndarray, simulated: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """What measured less simulated current would be [draw, number], were the file made by the model at its fit: the
    ensemble's own devices, as many as the file is the mean of, with the instrument's noise."""
    away = _away(courses)
    count = away.shape[0]
    if trace.mean_of == 1:
        drawn = away[rng.integers(count, size=number)]
    else:
        drawn = rng.multinomial(trace.mean_of, np.full(count, 1.0 / count), size=number) @ away / trace.mean_of
    rest = np.diag(noise(trace) ** 2) + away.T @ away / (count * simulated)
    # eigh: the instrument's noise may be below the rounding of what the devices do
    gaussian = rng.multivariate_normal(np.zeros(len(rest)), rest, number, check_valid="ignore", method="eigh")
    return np.asarray(drawn + gaussian)
