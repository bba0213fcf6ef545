"""How measurements go together: over devices (D2D), and over the cycles of one device (C2C). The two are different
questions, and a device-to-device correlation says nothing about the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from mcdev.statistics.components import Estimate, own_means
from mcdev.statistics.readings import Reading


@dataclass(frozen=True)
class Correlation:
    """Correlations of several measurements at one sweep point."""

    level: str
    """``D2D`` (means of the devices), in one cycle what they can contain (:func:`contents`), or ``C2C`` (deviations of
    the cycles from their device's mean)."""
    names: list[str]
    logarithmic: list[bool]
    """Of each measurement: whether its logarithm was taken, because all its values are positive."""
    pearson: np.ndarray
    spearman: np.ndarray
    """[measurement, measurement]; NaN where not determined."""
    n: np.ndarray
    """[measurement, measurement]: devices, or degrees of freedom of the deviations plus one."""

    def interval(self, method: str, i: int, j: int) -> Estimate:
        """One entry with its 95 % interval: tanh(artanh r ± 1.96 s), s² = 1/(n - 3) for Pearson (Fisher 1921),
        (1 + r²/2)/(n - 3) for Spearman (Bonett and Wright 2000, doi:10.1007/BF02294183)."""
        r, n = float((self.pearson if method == "pearson" else self.spearman)[i, j]), int(self.n[i, j])
        if not np.isfinite(r) or n < 4 or abs(r) >= 1:
            return Estimate(r, np.nan, np.nan)
        spread = np.sqrt((1.0 if method == "pearson" else 1 + r * r / 2) / (n - 3))
        ends = np.tanh(np.arctanh(r) + special.ndtri([0.025, 0.975]) * spread)
        return Estimate(r, float(ends[0]), float(ends[1]))


def correlate(found: list[Reading]) -> list[Correlation]:
    """D2D and, where there are several cycles, C2C correlations of the measurements of one sweep point; of one cycle
    those of whatever a spread over devices contains.

    Pearson's is of ln x where all values are positive; both are over pairs of uncensored values. Means over few
    cycles still carry cycle-to-cycle noise, by which a D2D correlation comes out too small: the model card corrects
    for it. Empty with fewer than two measurements or three devices.
    """
    if len(found) < 2 or found[0].values.shape[0] < 3:
        return []
    logarithmic = [r.positive for r in found]
    columns = []
    for r, log in zip(found, logarithmic, strict=True):
        good = np.where(r.fine, r.values, np.nan)
        columns.append(np.log(good) if log else good)
    x = np.stack(columns)  # [measurement, device, cycle]
    use = np.isfinite(x)
    count = use.sum(axis=2)
    means = np.where(count > 0, np.stack([own_means(*one) for one in zip(x, use, strict=True)]), np.nan)
    names = [r.label for r in found]
    levels = [_matrices("D2D" if x.shape[2] > 1 else found[0].spread, names, logarithmic, means, None)]
    if x.shape[2] > 1:
        deviations = x - means[:, :, None]
        deviations[np.broadcast_to((count < 2)[:, :, None], x.shape)] = np.nan
        device = np.repeat(np.arange(x.shape[1]), x.shape[2])
        levels.append(_matrices("C2C", names, logarithmic, deviations.reshape(len(found), -1), device))
    return levels


def _matrices(
    level: str, names: list[str], logarithmic: list[bool], x: np.ndarray, device: np.ndarray | None
) -> Correlation:
    size = len(names)
    pearson, spearman, n = np.full((size, size), np.nan), np.full((size, size), np.nan), np.zeros((size, size), int)
    for i in range(size):
        for j in range(i, size):
            both = np.isfinite(x[i]) & np.isfinite(x[j])
            a, b = x[i, both], x[j, both]
            lost = 0 if device is None else np.unique(device[both]).size - 1
            n[i, j] = n[j, i] = max(a.size - lost, 0)
            if n[i, j] < 3:
                continue
            pearson[i, j] = pearson[j, i] = product(a, b)
            spearman[i, j] = spearman[j, i] = product(ranks(a), ranks(b))
    return Correlation(level, names, logarithmic, pearson, spearman, n)


def ranks(values: np.ndarray) -> np.ndarray:
    """From one on; what is equal shares its mean rank. By pandas, which is there already: scipy.stats is slow to
    import."""
    return pd.Series(values).rank().to_numpy()


def product(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN where one of them does not vary."""
    da, db = a - a.mean(), b - b.mean()
    ta, tb = float(np.abs(a).max()), float(np.abs(b).max())
    if not (da.std() > 1e-12 * ta and db.std() > 1e-12 * tb):
        return float("nan")
    return float(np.clip((da * db).sum() / np.sqrt((da**2).sum() * (db**2).sum()), -1.0, 1.0))
