"""The distribution of what is censored, without assuming a law: Kaplan and Meier's curve."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import special

from mcdev.measurements.contract import OK, RIGHT_CENSORED
from mcdev.statistics.censored import Sample


@dataclass(frozen=True)
class Survival:
    """Share that has not happened yet, at each value at which one happens (or was known to have happened)."""

    at: np.ndarray
    """Rising, in the unit of the observations."""
    share: np.ndarray
    """S just after ``at``."""
    low: np.ndarray
    high: np.ndarray
    """Ends of the pointwise 95 % interval; NaN where S is 0 or 1."""
    censored_at: np.ndarray
    """Bounds of the right-censored observations."""
    left: int
    """Left-censored observations, which count as having happened at their bound."""

    def before(self) -> np.ndarray:
        """S just before each value."""
        return np.append(1.0, self.share[:-1])

    def median(self) -> float:
        """First value at which S ≤ 1/2; NaN where the curve ends above."""
        below = np.nonzero(self.share <= 0.5)[0]
        return float(self.at[below[0]]) if below.size else float("nan")


def kaplan_meier(data: Sample | None) -> Survival | None:
    """S(x) = Π_{x_i ≤ x} (1 - d_i/Y_i) with d_i events among Y_i at risk (Kaplan and Meier 1958,
    doi:10.1080/01621459.1958.10501452), by ``scipy.stats.ecdf``.

    The band is Greenwood's on ln(-ln S) (Kalbfleisch and Prentice 2002, doi:10.1002/9781118032985). Where devices
    have several observations, the variance of ln S is Σ_d (Σ_c u_dc)², u_dc the influence of an observation,
    -[event at x_dc ≤ x]/Y(x_dc) + Σ_{x_i ≤ min(x, x_dc)} d_i/Y_i² (Williams 1995, doi:10.2307/2533345): cycles of
    one device never count as independent.

    A left-censored observation counts as an event at its bound, which is exact above the largest such bound unless a
    right-censored bound lies below it. None where nothing happened.
    """
    if data is None:
        return None
    right = data.kind == RIGHT_CENSORED
    if right.all():
        return None
    from scipy import stats  # slow to import, and most runs have no censored values

    curve = stats.ecdf(stats.CensoredData(uncensored=data.values[~right], right=data.values[right])).sf
    at, inverse = np.unique(data.values[~right], return_inverse=True)
    share = np.asarray(curve.evaluate(at), float)
    if data.clustered:
        deaths = np.bincount(inverse).astype(float)
        low, high = _log_log(share, np.sqrt(_clustered_variance(data, right, at, deaths)))
    else:
        with warnings.catch_warnings():  # scipy warns that the band is undefined where S is 0, which the NaN says
            warnings.simplefilter("ignore", RuntimeWarning)
            band = curve.confidence_interval(method="log-log")
        low = np.asarray(band.low.evaluate(at), float)
        high = np.asarray(band.high.evaluate(at), float)
    left = int(((data.kind != OK) & ~right).sum())
    return Survival(at, share, low, high, np.sort(data.values[right]), left)


def _log_log(share: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval of S from the standard error of ln S."""
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.log(-np.log(share))
        reach = special.ndtri(0.975) * error / np.abs(np.log(share))
        low, high = np.exp(-np.exp(middle + reach)), np.exp(-np.exp(middle - reach))
    inside = (share > 0) & (share < 1)
    return np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def _clustered_variance(data: Sample, right: np.ndarray, at: np.ndarray, deaths: np.ndarray) -> np.ndarray:
    """Variance of ln S at each value, in one pass: of a device with contributions that jump at its own values and
    grow along with Σ d/Y², the square is built up on a grid of at most 400 of the values and interpolated."""
    ordered = np.sort(data.values)
    risk = ordered.size - np.searchsorted(ordered, at, side="left").astype(float)
    hazard = np.append(0.0, np.cumsum(deaths / risk**2))
    grid = np.unique(np.linspace(0, at.size - 1, min(at.size, 400)).round().astype(int))
    _, which = np.unique(data.device, return_inverse=True)
    place = np.searchsorted(at, data.values, side="right")  # events at or before an observation
    own = np.where(right, 0.0, 1.0 / risk[np.maximum(place - 1, 0)])
    variance = np.empty(grid.size)
    for i, g in enumerate(grid):
        influence = hazard[np.minimum(place, g + 1)] - np.where(~right & (data.values <= at[g]), own, 0.0)
        variance[i] = (np.bincount(which, weights=influence) ** 2).sum()
    return np.interp(np.arange(at.size), grid, variance)
