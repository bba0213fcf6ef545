"""The jackknife over groups of realisations (Efron 1982, doi:10.1137/1.9781611970319, ch. 3): errors of numbers that
are read off a mean, from the same numbers with one group left out after the other."""

from __future__ import annotations

import numpy as np

GROUPS = 16
"""Enough for an error known to 20 %, and few enough to be kept with every number."""


def without_groups(realisations: int) -> np.ndarray:
    """[1 + group, realisation]: all, then all but every sixteenth one, sixteen times (each one, where there are
    fewer)."""
    groups = min(GROUPS, realisations)
    member = np.arange(realisations) % max(groups, 1)
    left = [member != group for group in range(groups)] if realisations > 1 else []
    return np.stack([np.ones(realisations, bool), *left])


def standard_error(replicates: np.ndarray) -> np.ndarray:
    """sqrt[(n - 1)/n Σ (x_g - x̄)²], shape [...], from replicates [1 + group, ...] of which the first lost none; zero
    where no group was left out."""
    others = replicates[1:]
    count = others.shape[0]
    if count < 2:
        return np.zeros(replicates.shape[1:])
    return np.asarray(np.sqrt((count - 1) / count * np.sum((others - others.mean(axis=0)) ** 2, axis=0)))
