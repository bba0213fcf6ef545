"""Whether two populations are of one law, where some observations are bounds and cycles of a device are no witnesses
of their own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported when they are first used

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED

RESAMPLES = 1999
_MOST = 400
"""Devices in all up to which labels are permuted; beyond, Student's t is its limit."""
_SEED = 20170927
_LEAST = 2


class Difference(NamedTuple):
    """Of one population against another."""

    p: float
    """Probability of a difference as large by chance, two-sided; NaN where it is not determined."""
    larger: float
    """Share of pairs of one of each, among those that can be compared, in which the first is the larger; a pair that is
    equal counts half. NaN where none can be compared."""
    permuted: bool
    """Whether p is from permutations; else from Student's t."""


def compare_samples(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> Difference:
    """Values and statuses [device, cycle] of two populations.

    Each observation's score is the share of all others that are certainly below it less the share that are certainly
    above it, whatever lies behind the bounds (Gehan 1965, doi:10.1093/biomet/52.1-2.203, Mantel 1967,
    doi:10.2307/2528428); without censoring it is Wilcoxon's. The means of the devices' scores are compared by Welch's
    t, whose law is found by permuting the devices' labels: exact where the devices of both are exchangeable, and right
    in the limit where their numbers of cycles, or their spreads, differ (Janssen 1997,
    doi:10.1016/S0167-7152(97)00043-6).

    It sees a shift, hardly a difference in spread alone. It takes bounds as saying nothing of the values: censoring is
    to be the same in both, or to have nothing to do with them.
    """
    x, kind, device = _together(first, second)
    here = device < first[0].shape[0]
    if not here.any() or here.all():
        return Difference(np.nan, np.nan, False)
    low, high = _ends(x, kind)
    below = np.searchsorted(np.sort(high), low, side="left")
    above = x.size - np.searchsorted(np.sort(low), high, side="right")
    score = (below - above) / x.size
    _, which = np.unique(device, return_inverse=True)
    means = np.bincount(which, weights=score) / np.bincount(which)
    own = np.bincount(which, weights=here) > 0
    larger = _larger(low, high, here)
    if own.sum() < _LEAST or (~own).sum() < _LEAST or not np.ptp(means) > 0:
        return Difference(np.nan, larger, False)
    seen = float(_welch(means[None], own[None])[0])
    if means.size > _MOST:
        p = 2 * float(scipy.stats.t.sf(abs(seen), min(own.sum(), (~own).sum()) - 1))
        return Difference(p, larger, False)
    draw = np.random.default_rng(_SEED)
    labels = draw.permuted(np.broadcast_to(own, (RESAMPLES, own.size)), axis=1)
    by_chance = np.abs(_welch(np.broadcast_to(means, labels.shape), labels))
    reached = int((by_chance >= abs(seen) * (1 - 1e-12)).sum())
    return Difference((1 + reached) / (1 + RESAMPLES), larger, True)


def _together(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Known observations of both, flat: values, kinds, and number of the device, first those of the first."""
    found, before = [], 0
    for values, status in (first, second):
        known = np.isfinite(values) & np.isin(status, (OK, RIGHT_CENSORED, LEFT_CENSORED))
        found.append((values[known], status[known], np.nonzero(known)[0] + before))
        before += values.shape[0]
    x, kind, device = (np.concatenate(column) for column in zip(*found, strict=True))
    return x, kind, device


def _ends(x: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the least and the largest that each may be: one is certainly above another where its least is above the
    other's largest. What is censored on the right at a value lies above one that is that value."""
    _, rank = np.unique(x, return_inverse=True)
    least, most = 3 * rank + 1, 3 * rank + 1
    low = np.where(kind == LEFT_CENSORED, -1, np.where(kind == RIGHT_CENSORED, least + 1, least))
    high = np.where(kind == RIGHT_CENSORED, 3 * x.size + 3, np.where(kind == LEFT_CENSORED, most - 1, most))
    return low, high


def _larger(low: np.ndarray, high: np.ndarray, here: np.ndarray) -> float:
    above = int(np.searchsorted(np.sort(high[~here]), low[here], side="left").sum())
    below = int(np.searchsorted(np.sort(high[here]), low[~here], side="left").sum())
    exact = low == high
    mine, theirs = np.sort(low[here & exact]), np.sort(low[~here & exact])
    equal = int((np.searchsorted(theirs, mine, side="right") - np.searchsorted(theirs, mine, side="left")).sum())
    decided = above + below + equal
    return (above + 0.5 * equal) / decided if decided else float("nan")


def _welch(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Welch's t of each row [resample, device]; zero where nothing differs, infinite where only the means do."""
    parts = []
    for mask in (own, ~own):
        n = mask.sum(axis=1)
        mean = np.where(mask, values, 0.0).sum(axis=1) / n
        square = np.where(mask, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(n - 1, 1)
        parts.append((mean, square / n))
    (a, va), (b, vb) = parts
    apart, error = a - b, np.sqrt(va + vb)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = apart / error
    return np.where(error > 1e-12, t, np.where(np.abs(apart) > 1e-12, np.copysign(np.inf, apart), 0.0))
